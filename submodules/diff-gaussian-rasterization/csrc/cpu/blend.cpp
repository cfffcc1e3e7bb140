#include "blend.h"

#include <vector>

#include "native.h"

namespace gaussian_rasterization::cpu {
namespace {

// Elements of one task. Fixed, not divided among the threads, so that the order of the sums over elements is too.
constexpr std::int64_t kElementsPerPiece = 4096;

// Images whose sums are kept in registers at once: 8 vectors of sums, 1 of basis.
constexpr int kImageGroup = 8;

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
    for (int i = 0; i < kCount; ++i) sums[i] += weights[i * a.bases + k] * basis;
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

// Gradients of one vector of elements; sums of grad_out basis over elements go on in weight_sums [B, K], vectors.
template <typename V, typename T>
inline void blend_backward_at(const BlendGradientArguments<T>& a, std::int64_t e, V* weight_sums) {
  V grad_base{};
  for (std::int64_t b = 0; b < a.images; ++b) grad_base += load_vector<V>(a.grad_out + b * a.elements + e);
  store_vector(a.grad_base + e, grad_base);
  for (std::int64_t k = 0; k < a.bases; ++k) {
    const V basis = load_vector<V>(a.basis + k * a.elements + e);
    V grad_basis{};
    for (std::int64_t b = 0; b < a.images; ++b) {
      const V grad = load_vector<V>(a.grad_out + b * a.elements + e);
      grad_basis += a.weights[b * a.bases + k] * grad;
      weight_sums[b * a.bases + k] += grad * basis;
    }
    store_vector(a.grad_basis + k * a.elements + e, grad_basis);
  }
}

}  // namespace

template <typename T>
void blend(const BlendArguments<T>& a, const RunOnAllThreads& run) {
  const std::int64_t groups = (a.images + kImageGroup - 1) / kImageGroup;
  parallel_pieces(run, a.elements, kElementsPerPiece, [&](std::int64_t first, std::int64_t last) {
    for_each_vector<T>(first, last, [&](auto vector, std::int64_t e) {
      for (std::int64_t group = 0; group < groups; ++group) {  // of nearly equal size
        const std::int64_t begin = group * a.images / groups, end = (group + 1) * a.images / groups;
        blend_group<decltype(vector)>(a, begin, end - begin, e);
      }
    });
  });
}

template <typename T>
void blend_backward(const BlendGradientArguments<T>& a, const RunOnAllThreads& run) {
  const std::int64_t pieces = (a.elements + kElementsPerPiece - 1) / kElementsPerPiece, pairs = a.images * a.bases;
  std::vector<T> partial(pieces * pairs);
  parallel_pieces(run, pieces, 1, [&](std::int64_t piece, std::int64_t) {
    std::vector<Vector<T>> vector_sums(pairs);
    std::vector<T> scalar_sums(pairs);
    const std::int64_t first = piece * kElementsPerPiece, last = std::min(first + kElementsPerPiece, a.elements);
    std::int64_t e = first;
    for (; e + kVectorWidth<T> <= last; e += kVectorWidth<T>) blend_backward_at(a, e, vector_sums.data());
    for (; e < last; ++e) blend_backward_at(a, e, scalar_sums.data());
    for (std::int64_t i = 0; i < pairs; ++i) partial[piece * pairs + i] = sum(vector_sums[i]) + scalar_sums[i];
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
