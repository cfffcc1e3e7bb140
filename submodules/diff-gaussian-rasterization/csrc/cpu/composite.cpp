#include "composite.h"

#include <vector>

#include "../core/color_sums.h"
#include "tile.h"

namespace gaussian_rasterization::cpu {
namespace {

constexpr std::int64_t kTilesPerPiece = 4;
constexpr std::int64_t kGaussiansPerPiece = 1024;

template <typename T>
struct Canvas {
  alignas(64) T red[kTilePixels] = {}, green[kTilePixels] = {}, blue[kTilePixels] = {};
};

template <typename T>
inline void add_share(T* channel, const Lanes<T>& share, T color) {
  store_lanes(channel, multiply_add(share, broadcast(color), load_lanes(channel)));
}

template <typename T>
void write_tile(const SceneArguments<T>& scene, const TilePlace& place, const Canvas<T>& canvas,
                const Transmittance<T>& transmittance, const ImageArguments<T>& out) {
  const std::int64_t plane = place.width * place.height;
  T* color = out.color + 3 * plane * place.image;
  T* alpha = out.alpha + plane * place.image;
  const T* background = scene.background + 3 * place.image;
  for_each_pixel(place, [&](int p, std::int64_t x, std::int64_t y) {
    const T left = std::abs(transmittance.value[p]);
    const std::int64_t i = y * place.width + x;
    color[i] = canvas.red[p] + left * background[0];
    color[plane + i] = canvas.green[p] + left * background[1];
    color[2 * plane + i] = canvas.blue[p] + left * background[2];
    alpha[i] = T(1) - left;
  });
}

// What a sweep does with the shares of a splat beside compositing them: nothing, or sum the target's colours by them.
struct Ignore {
  template <typename T>
  void operator()(const TilePlace&, const TileEntry&, int, const Lanes<T>&) const {}
};

template <typename T>
struct SumTargets {
  const ColorSumArguments<T>& arguments;
  ColorSum<T>* slots;        // of the batch's pairs
  std::int64_t image_begin;  // first pair of the image

  void operator()(const TilePlace& place, const TileEntry& entry, int block, const Lanes<T>& share) const {
    if (!arguments.unseen[entry.gaussian] || negative_lanes(broadcast(T(kMinSeenWeight)) - share) == 0) return;
    alignas(64) T shares[kLanes];
    store_lanes(shares, share);
    const std::int64_t first_x = place.x + kBlockSize * (block % kBlockSize),
                       first_y = place.y + kBlockSize * (block / kBlockSize);
    for (int i = 0; i < kLanes; ++i) {
      if (!(shares[i] > T(kMinSeenWeight))) continue;
      const std::int64_t pixel =
          (place.image * place.height + first_y + i / kBlockSize) * place.width + first_x + i % kBlockSize;
      add_target(slots[image_begin + entry.slot], arguments.targets + 4 * pixel, shares[i]);
    }
  }
};

template <typename T, typename Observer>
void composite_tile(const SceneArguments<T>& scene, const Splat<T>* splats, const TileEntry* entry,
                    const TileEntry* end, const TilePlace& place, const ImageArguments<T>& out,
                    const Observer& observe) {
  static const BlockOffsets<T> offsets;
  Canvas<T> canvas;
  Transmittance<T> transmittance(place);
  for (; entry != end && transmittance.open_blocks != 0; ++entry) {
    const Splat<T>& splat = splats[entry->gaussian];
    for (unsigned blocks = blocks_reached(splat, place, offsets) & transmittance.open_blocks; blocks != 0;
         blocks &= blocks - 1) {
      const int block = __builtin_ctz(blocks), pixel = block * kLanes;
      const Lanes<T> share = step_block(splat, place, offsets, block, transmittance).share;
      add_share(canvas.red + pixel, share, splat.red);
      add_share(canvas.green + pixel, share, splat.green);
      add_share(canvas.blue + pixel, share, splat.blue);
      observe(place, *entry, block, share);
    }
  }
  write_tile(scene, place, canvas, transmittance, out);
}

template <typename T, typename MakeObserver>
void composite_tiles(const SceneArguments<T>& scene, const Splat<T>* splats, const Bins& bins,
                     const ImageArguments<T>& images, const MakeObserver& observer_of_image,
                     const RunOnAllThreads& run) {
  const Grid grid = grid_of(scene.width, scene.height);
  parallel_pieces(run, scene.images * grid.tiles(), kTilesPerPiece, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t tile = first; tile < last; ++tile) {
      const TilePlace place = place_of_tile(tile, grid, scene.width, scene.height);
      composite_tile(scene, splats + place.image * scene.gaussians, bins.entries + bins.tile_begin[tile],
                     bins.entries + bins.tile_begin[tile + 1], place, images, observer_of_image(place.image));
    }
  });
}

// Adds a Gaussian's slots, image by image, in order.
template <typename T>
ColorSum<T> gather(const SceneArguments<T>& scene, const Bins& bins, const ColorSum<T>* slots, std::int64_t gaussian) {
  const std::int64_t tiles = grid_of(scene.width, scene.height).tiles();
  ColorSum<T> total{};
  for (std::int64_t image = 0; image < scene.images; ++image) {
    const ColorSum<T>* of_image = slots + bins.tile_begin[image * tiles];
    const std::int32_t* begin = bins.slot_begin + image * (scene.gaussians + 1) + gaussian;
    for (std::int32_t slot = begin[0]; slot < begin[1]; ++slot) {
      total.red += of_image[slot].red, total.green += of_image[slot].green, total.blue += of_image[slot].blue;
      total.weight += of_image[slot].weight;
    }
  }
  return total;
}

}  // namespace

template <typename T>
void composite(const SceneArguments<T>& scene, const Splat<T>* splats, const Bins& bins,
               const ImageArguments<T>& images, const RunOnAllThreads& run) {
  composite_tiles(scene, splats, bins, images, [](std::int64_t) { return Ignore{}; }, run);
}

template <typename T>
void composite_with_color_sums(const SceneArguments<T>& scene, const Splat<T>* splats, const Bins& bins,
                               const ImageArguments<T>& images, const ColorSumArguments<T>& sums,
                               const RunOnAllThreads& run) {
  const std::int64_t tiles = grid_of(scene.width, scene.height).tiles();
  std::vector<ColorSum<T>> slots(bins.tile_begin[scene.images * tiles]);
  const auto observer = [&](std::int64_t image) {
    return SumTargets<T>{sums, slots.data(), bins.tile_begin[image * tiles]};
  };
  composite_tiles(scene, splats, bins, images, observer, run);
  parallel_pieces(run, scene.gaussians, kGaussiansPerPiece, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const ColorSum<T> total = gather(scene, bins, slots.data(), i);
      sums.rgb[3 * i] = total.red, sums.rgb[3 * i + 1] = total.green, sums.rgb[3 * i + 2] = total.blue;
      sums.weight[i] = total.weight;
    }
  });
}

#define GR_INSTANTIATE(T)                                                                                   \
  template void composite(const SceneArguments<T>&, const Splat<T>*, const Bins&, const ImageArguments<T>&, \
                          const RunOnAllThreads&);                                                          \
  template void composite_with_color_sums(const SceneArguments<T>&, const Splat<T>*, const Bins&,           \
                                          const ImageArguments<T>&, const ColorSumArguments<T>&,            \
                                          const RunOnAllThreads&);
GR_INSTANTIATE(float)
GR_INSTANTIATE(double)
#undef GR_INSTANTIATE

}  // namespace gaussian_rasterization::cpu
