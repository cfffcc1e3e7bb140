// Running tasks on all cores, without knowing whose threads they are.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>

namespace gaussian_rasterization::cpu {

// Calls its argument once on each thread of the caller's pool, and returns when all have returned.
using RunOnAllThreads = std::function<void(const std::function<void()>&)>;

// body(first, last) for consecutive pieces of [0, count), handed out one by one: a thread that finishes early takes the
// next piece. Which thread runs a piece must not show in the result: a body writes only what belongs to its own
// indices.
template <typename Body>
void parallel_pieces(const RunOnAllThreads& run, std::int64_t count, std::int64_t piece, const Body& body) {
  std::atomic<std::int64_t> next{0};
  const auto worker = [&] {
    for (std::int64_t first = next.fetch_add(piece); first < count; first = next.fetch_add(piece))
      body(first, std::min(first + piece, count));
  };
  if (count <= piece)
    worker();
  else
    run(worker);
}

}  // namespace gaussian_rasterization::cpu
