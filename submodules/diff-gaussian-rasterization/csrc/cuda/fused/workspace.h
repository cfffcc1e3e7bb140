// The scratch memory of the fused path: one block, cut into arrays.
#pragma once

#include "arguments.h"

namespace gaussian_rasterization::cuda::fused {

struct WorkspaceSizes {
  Sizes sizes;                      // bases: all there are, whether they train yet or not
  std::int64_t code_width, hidden;  // of the network
  std::int64_t faces;               // of the mesh
  bool training;                    // or inference, which needs neither gradients nor averages
};

// A block that begins at null has a size and no arrays.
class Workspace {
 public:
  Workspace(const WorkspaceSizes& w, std::byte* begin) : begin_(begin) {
    const Sizes& s = w.sizes;
    const std::int64_t splats = s.splats(), tiles = s.tiles(), images = s.all_images;
    lists.scan_bytes = fused::scan_bytes(tiles);
    lists.splats = take<Splat<float>>(splats);
    lists.faces = take<float4>(s.images * w.faces * kFaceVectors);
    lists.rotations = w.training ? take<float4>(splats) : nullptr;
    lists.moments = w.training ? take<float4>(3 * splats) : nullptr;
    lists.tile_pairs = take<std::int32_t>(tiles + 1);
    lists.tile_begin = take<std::int32_t>(tiles + 1);
    lists.tile_order = take<std::int32_t>(tiles);
    lists.keys = take<std::uint64_t>(s.capacity);
    lists.entries = take<std::uint32_t>(s.capacity);
    lists.scan_storage = take<std::byte>(static_cast<std::int64_t>(lists.scan_bytes));
    live = w.training ? take<std::uint32_t>(live_words(s)) : nullptr;
    for (float*& values : hidden_values) values = take<float>(images * w.hidden);
    for (float*& values : hidden_gradients) values = take<float>(images * w.hidden);
    weights = take<float>(images * s.bases);
    weight_gradients = take<float>(images * s.bases);
    cameras = w.training ? take<float>(images * kCorrectedCamera) : nullptr;
    doubt = w.training ? take<float>(1) : nullptr;
    partial_sums = w.training ? take<float>(update_blocks() * images * s.bases) : nullptr;
  }

  std::int64_t bytes() const { return used_; }

  Lists lists;
  std::uint32_t* live;
  float *hidden_values[2], *hidden_gradients[2], *weights, *weight_gradients, *cameras, *doubt, *partial_sums;

 private:
  template <typename T>
  T* take(std::int64_t length) {
    constexpr std::int64_t kAlignment = 256;
    T* array = begin_ == nullptr ? nullptr : reinterpret_cast<T*>(begin_ + used_);
    used_ += (length * static_cast<std::int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
    return array;
  }

  std::byte* begin_;
  std::int64_t used_ = 0;
};

}  // namespace gaussian_rasterization::cuda::fused
