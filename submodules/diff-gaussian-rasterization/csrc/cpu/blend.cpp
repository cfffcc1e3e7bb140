#include "blend.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "native.h"

namespace gaussian_rasterization::cpu {
namespace {

// Elements of one task. Fixed, not divided among the threads, so that the order of the sums over elements is too.
constexpr std::int64_t kElementsPerPiece = 4096;

// 10 images of this many floats are 20 kB.
constexpr std::int64_t kElementsPerStrip = 512;

// Images whose sums are kept in registers at once: 8 vectors of sums, 1 of basis.
constexpr int kImageGroup = 8;

// f(first image, count): the images in groups of nearly equal size, at most kImageGroup each.
template <typename F>
inline void for_each_group(std::int64_t images, const F& f) {
  const std::int64_t groups = (images + kImageGroup - 1) / kImageGroup;
  for (std::int64_t group = 0; group < groups; ++group) {
    const std::int64_t begin = group * images / groups, end = (group + 1) * images / groups;
    f(begin, end - begin);
  }
}

// f(V{}, element) over [first, last): V a native vector while it fits, then the scalar itself.
template <typename T, typename F>
inline void for_each_vector(std::int64_t first, std::int64_t last, const F& f) {
  std::int64_t e = first;
  for (; e + kVectorWidth<T> <= last; e += kVectorWidth<T>) f(Vector<T>{}, e);
  for (; e < last; ++e) f(T{}, e);
}

template <int kCount, typename V, typename T>
inline void blend_images(const BlendArguments<T>& a, std::int64_t first_image, std::int64_t e) {
  V sums[kCount];
  const V base = load_vector<V>(a.base + e);
  for (V& sum : sums) sum = base;
  const T* weights = a.weights + first_image * a.bases;
  for (std::int64_t k = 0; k < a.bases; ++k) {
    const V basis = load_vector<V>(a.basis + k * a.elements + e);
    for (int i = 0; i < kCount; ++i) sums[i] = multiply_add(spread<V>(weights[i * a.bases + k]), basis, sums[i]);
  }
  for (int i = 0; i < kCount; ++i) store_vector(a.out + (first_image + i) * a.elements + e, sums[i]);
}

// Up to kImageGroup images, as a compile-time number of them.
template <typename V, typename T>
inline void blend_group(const BlendArguments<T>& a, std::int64_t first_image, std::int64_t count, std::int64_t e) {
  switch (count) {
    case 1:
      return blend_images<1, V>(a, first_image, e);
    case 2:
      return blend_images<2, V>(a, first_image, e);
    case 3:
      return blend_images<3, V>(a, first_image, e);
    case 4:
      return blend_images<4, V>(a, first_image, e);
    case 5:
      return blend_images<5, V>(a, first_image, e);
    case 6:
      return blend_images<6, V>(a, first_image, e);
    case 7:
      return blend_images<7, V>(a, first_image, e);
    default:
      return blend_images<kImageGroup, V>(a, first_image, e);
  }
}

// What the images [first_image, first_image + kCount) add to grad_basis[k] over the elements [first, last), and to
// grad_weights[., k] of this piece. The sums over elements stay in registers.
template <int kCount, typename T>
void blend_images_backward(const BlendGradientArguments<T>& a, std::int64_t first_image, std::int64_t k,
                           std::int64_t first, std::int64_t last, T* piece_weights) {
  Vector<T> vector_sums[kCount] = {};
  T scalar_sums[kCount] = {};
  const auto at = [&](auto* sums, std::int64_t e) {
    using V = std::remove_reference_t<decltype(*sums)>;
    const V basis = load_vector<V>(a.basis + k * a.elements + e);
    V grad_basis = load_vector<V>(a.grad_basis + k * a.elements + e);
    for (int i = 0; i < kCount; ++i) {
      const V grad = load_vector<V>(a.grad_out + (first_image + i) * a.elements + e);
      grad_basis = multiply_add(spread<V>(a.weights[(first_image + i) * a.bases + k]), grad, grad_basis);
      sums[i] = multiply_add(grad, basis, sums[i]);
    }
    store_vector(a.grad_basis + k * a.elements + e, grad_basis);
  };
  std::int64_t e = first;
  for (; e + kVectorWidth<T> <= last; e += kVectorWidth<T>) at(vector_sums, e);
  for (; e < last; ++e) at(scalar_sums, e);
  for (int i = 0; i < kCount; ++i)
    piece_weights[(first_image + i) * a.bases + k] += sum(vector_sums[i]) + scalar_sums[i];
}

template <typename T>
void blend_group_backward(const BlendGradientArguments<T>& a, std::int64_t first_image, std::int64_t count,
                          std::int64_t k, std::int64_t first, std::int64_t last, T* piece_weights) {
  switch (count) {
    case 1:
      return blend_images_backward<1>(a, first_image, k, first, last, piece_weights);
    case 2:
      return blend_images_backward<2>(a, first_image, k, first, last, piece_weights);
    case 3:
      return blend_images_backward<3>(a, first_image, k, first, last, piece_weights);
    case 4:
      return blend_images_backward<4>(a, first_image, k, first, last, piece_weights);
    case 5:
      return blend_images_backward<5>(a, first_image, k, first, last, piece_weights);
    case 6:
      return blend_images_backward<6>(a, first_image, k, first, last, piece_weights);
    case 7:
      return blend_images_backward<7>(a, first_image, k, first, last, piece_weights);
    default:
      return blend_images_backward<kImageGroup>(a, first_image, k, first, last, piece_weights);
  }
}

// All gradients of a few elements: few enough that grad_out of the batch stays in the first-level cache over the bases.
template <typename T>
void blend_strip_backward(const BlendGradientArguments<T>& a, std::int64_t first, std::int64_t last, T* piece_weights) {
  std::fill(a.grad_base + first, a.grad_base + last, T(0));
  for (std::int64_t b = 0; b < a.images; ++b)
    for (std::int64_t e = first; e < last; ++e) a.grad_base[e] += a.grad_out[b * a.elements + e];
  for (std::int64_t k = 0; k < a.bases; ++k) {
    std::fill(a.grad_basis + k * a.elements + first, a.grad_basis + k * a.elements + last, T(0));
    for_each_group(a.images, [&](std::int64_t first_image, std::int64_t count) {
      blend_group_backward(a, first_image, count, k, first, last, piece_weights);
    });
  }
}

}  // namespace

template <typename T>
void blend(const BlendArguments<T>& a, const RunOnAllThreads& run) {
  parallel_pieces(run, a.elements, kElementsPerPiece, [&](std::int64_t first, std::int64_t last) {
    for_each_vector<T>(first, last, [&](auto vector, std::int64_t e) {
      for_each_group(a.images, [&](std::int64_t first_image, std::int64_t count) {
        blend_group<decltype(vector)>(a, first_image, count, e);
      });
    });
  });
}

template <typename T>
void blend_backward(const BlendGradientArguments<T>& a, const RunOnAllThreads& run) {
  const std::int64_t pieces = (a.elements + kElementsPerPiece - 1) / kElementsPerPiece, pairs = a.images * a.bases;
  std::vector<T> partial(pieces * pairs);
  parallel_pieces(run, pieces, 1, [&](std::int64_t piece, std::int64_t) {
    const std::int64_t begin = piece * kElementsPerPiece, end = std::min(begin + kElementsPerPiece, a.elements);
    for (std::int64_t first = begin; first < end; first += kElementsPerStrip)
      blend_strip_backward(a, first, std::min(first + kElementsPerStrip, end), partial.data() + piece * pairs);
  });
  for (std::int64_t i = 0; i < pairs; ++i) {
    double total = 0;
    for (std::int64_t piece = 0; piece < pieces; ++piece) total += static_cast<double>(partial[piece * pairs + i]);
    a.grad_weights[i] = static_cast<T>(total);
  }
}

template void blend(const BlendArguments<float>&, const RunOnAllThreads&);
template void blend(const BlendArguments<double>&, const RunOnAllThreads&);
template void blend_backward(const BlendGradientArguments<float>&, const RunOnAllThreads&);
template void blend_backward(const BlendGradientArguments<double>&, const RunOnAllThreads&);

}  // namespace gaussian_rasterization::cpu
