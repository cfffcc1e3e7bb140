// The visible Gaussians of an image, nearest first, ties by index: a stable radix sort on the bits of the depth.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "../core/projection.h"

namespace gaussian_rasterization::cpu {

template <typename T>
struct DepthKey {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  Bits bits;  // of a positive number, whose bits are ordered as it is
  std::int32_t gaussian;
};

inline constexpr int kDigitBits = 11;  // 2048 counters fit the first-level cache; float takes 3 passes
inline constexpr std::size_t kDigits = std::size_t(1) << kDigitBits;

// One stable pass on the digit at `shift`. False where all digits are the same, and nothing needed to move.
template <typename Key>
bool sort_by_digit(const std::vector<Key>& from, std::vector<Key>& to, int shift) {
  const auto digit = [shift](const Key& key) { return static_cast<std::size_t>(key.bits >> shift) & (kDigits - 1); };
  std::array<std::size_t, kDigits + 1> begin{};
  for (const Key& key : from) ++begin[digit(key) + 1];
  if (begin[digit(from.front()) + 1] == from.size()) return false;
  for (std::size_t d = 0; d < kDigits; ++d) begin[d + 1] += begin[d];
  for (const Key& key : from) to[begin[digit(key)]++] = key;
  return true;
}

// counts [N]: tiles a Gaussian reaches; 0 leaves it out.
template <typename T>
std::vector<std::int32_t> depth_order(const Splat<T>* splats, const std::int32_t* counts, std::int64_t gaussians) {
  std::vector<DepthKey<T>> keys;
  keys.reserve(gaussians);
  for (std::int64_t i = 0; i < gaussians; ++i) {
    if (counts[i] == 0) continue;
    DepthKey<T> key{0, static_cast<std::int32_t>(i)};
    std::memcpy(&key.bits, &splats[i].depth, sizeof(T));
    keys.push_back(key);
  }
  std::vector<DepthKey<T>> other(keys.size());
  for (int shift = 0; !keys.empty() && shift < static_cast<int>(8 * sizeof(T)); shift += kDigitBits)
    if (sort_by_digit(keys, other, shift)) std::swap(keys, other);
  std::vector<std::int32_t> order(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) order[i] = keys[i].gaussian;
  return order;
}

}  // namespace gaussian_rasterization::cpu
