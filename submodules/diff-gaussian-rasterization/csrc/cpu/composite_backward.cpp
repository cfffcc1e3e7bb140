#include <vector>

#include "composite.h"
#include "tile.h"

namespace gaussian_rasterization::cpu {
namespace {

constexpr std::int64_t kTilesPerPiece = 4;
constexpr std::int64_t kGaussiansPerPiece = 512;

// Gradients to the tile's pixels, and what the splats still to come contribute to the loss's linear form (see
// alpha_gradient()).
template <typename T>
struct GradientCanvas {
  alignas(64) T red[kTilePixels] = {}, green[kTilePixels] = {}, blue[kTilePixels] = {}, alpha[kTilePixels] = {},
                rest[kTilePixels] = {};

  GradientCanvas(const TilePlace& place, const GradientArguments<T>& in) {
    const std::int64_t plane = place.width * place.height;
    const T *color = in.color + 3 * plane * place.image, *grad_color = in.grad_color + 3 * plane * place.image;
    const T *coverage = in.alpha + plane * place.image, *grad_coverage = in.grad_alpha + plane * place.image;
    for_each_pixel(place, [&](int p, std::int64_t x, std::int64_t y) {
      const std::int64_t i = y * place.width + x;
      red[p] = grad_color[i], green[p] = grad_color[plane + i], blue[p] = grad_color[2 * plane + i],
      alpha[p] = grad_coverage[i];
      rest[p] =
          color[i] * red[p] + color[plane + i] * green[p] + color[2 * plane + i] * blue[p] + coverage[i] * alpha[p];
    });
  }
};

// The nine sums of one splat over one tile, lane by lane.
template <typename T>
struct MomentLanes {
  Lanes<T> w = broadcast(T(0)), wx = w, wy = w, wxx = w, wxy = w, wyy = w, red = w, green = w, blue = w;

  void add(const BlockStep<T>& step, const Lanes<T>& weight) {
    const Lanes<T> weight_x = weight * step.dx, weight_y = weight * step.dy;
    w = w + weight, wx = wx + weight_x, wy = wy + weight_y;
    wxx = multiply_add(weight_x, step.dx, wxx), wxy = multiply_add(weight_x, step.dy, wxy),
    wyy = multiply_add(weight_y, step.dy, wyy);
  }
  SplatMoments<T> total() const {
    return {sum(w), sum(wx), sum(wy), sum(wxx), sum(wxy), sum(wyy), sum(red), sum(green), sum(blue)};
  }
};

template <typename T>
inline void add_block(const Splat<T>& splat, const BlockStep<T>& step, int pixel, GradientCanvas<T>& canvas,
                      MomentLanes<T>& moments) {
  const Lanes<T> red = load_lanes(canvas.red + pixel), green = load_lanes(canvas.green + pixel),
                 blue = load_lanes(canvas.blue + pixel);
  const Lanes<T> channel =
      multiply_add(broadcast(splat.red), red,
                   multiply_add(broadcast(splat.green), green,
                                multiply_add(broadcast(splat.blue), blue, load_lanes(canvas.alpha + pixel))));
  const Lanes<T> rest = load_lanes(canvas.rest + pixel) - step.share * channel;
  store_lanes(canvas.rest + pixel, rest);
  const Lanes<T> grad_alpha = step.transmittance * channel - rest / step.remaining;
  moments.add(step, select(step.composited, step.unclamped * grad_alpha, broadcast(T(0))));
  moments.red = multiply_add(step.share, red, moments.red);
  moments.green = multiply_add(step.share, green, moments.green);
  moments.blue = multiply_add(step.share, blue, moments.blue);
}

// Front to back, as the forward sweep went; leaves the moments of every entry in its slot.
template <typename T>
void sweep_tile(const Splat<T>* splats, const TileEntry* entry, const TileEntry* end, const TilePlace& place,
                const GradientArguments<T>& gradients, SplatMoments<T>* slots) {
  static const BlockOffsets<T> offsets;
  GradientCanvas<T> canvas(place, gradients);
  Transmittance<T> transmittance(place);
  for (; entry != end && transmittance.open_blocks != 0; ++entry) {
    const Splat<T>& splat = splats[entry->gaussian];
    MomentLanes<T> moments;
    for (unsigned blocks = blocks_reached(splat, place, offsets) & transmittance.open_blocks; blocks != 0;
         blocks &= blocks - 1) {
      const int block = __builtin_ctz(blocks);
      add_block(splat, step_block(splat, place, offsets, block, transmittance), block * kLanes, canvas, moments);
    }
    slots[entry->slot] = moments.total();
  }
  for (; entry != end; ++entry) slots[entry->slot] = SplatMoments<T>{};
}

template <typename T>
SplatMoments<T> gather(const SplatMoments<T>* slot, const SplatMoments<T>* end) {
  SplatMoments<T> total{};
  for (; slot != end; ++slot) {
    total.w += slot->w, total.wx += slot->wx, total.wy += slot->wy;
    total.wxx += slot->wxx, total.wxy += slot->wxy, total.wyy += slot->wyy;
    total.red += slot->red, total.green += slot->green, total.blue += slot->blue;
  }
  return total;
}

// Writes a gradient that belongs to one image; adds one that is common to the batch, after the first image's.
template <typename T>
inline void write_or_add(T* to, T value, bool add) {
  *to = add ? *to + value : value;
}

template <typename T>
void write_gradient(const SceneArguments<T>& scene, const GradientArguments<T>& out, std::int64_t image,
                    std::int64_t gaussian, const GaussianGradient<T>& g) {
  const std::int64_t i = image * scene.gaussians + gaussian;
  store_vec3(out.grad_means + 3 * i, g.mean);
  store_quaternion(out.grad_rotations + 4 * i, g.rotation);
  store_vec3(out.grad_colors + 3 * i, g.color);
  T* scale = out.grad_scales + image * scene.scale_batch_stride + 3 * gaussian;
  const bool add_scale = image > 0 && scene.scale_batch_stride == 0;
  write_or_add(scale, g.scale.x, add_scale), write_or_add(scale + 1, g.scale.y, add_scale),
      write_or_add(scale + 2, g.scale.z, add_scale);
  write_or_add(out.grad_opacities + image * scene.opacity_batch_stride + gaussian, g.opacity,
               image > 0 && scene.opacity_batch_stride == 0);
}

}  // namespace

// Image by image, so that the slots of one image stay in the cache, and sums over the batch have one order.
template <typename T>
void composite_backward(const SceneArguments<T>& scene, const Splat<T>* splats, const Bins& bins,
                        const GradientArguments<T>& gradients, const RunOnAllThreads& run) {
  const Grid grid = grid_of(scene.width, scene.height);
  std::vector<SplatMoments<T>> slots;
  for (std::int64_t image = 0; image < scene.images; ++image) {
    const std::int64_t first_tile = image * grid.tiles();
    const Splat<T>* of_image = splats + image * scene.gaussians;
    const std::int32_t* slot_begin = bins.slot_begin + image * (scene.gaussians + 1);
    slots.resize(std::max<std::size_t>(slots.size(), slot_begin[scene.gaussians]));
    parallel_pieces(run, grid.tiles(), kTilesPerPiece, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t tile = first_tile + first; tile < first_tile + last; ++tile)
        sweep_tile(of_image, bins.entries + bins.tile_begin[tile], bins.entries + bins.tile_begin[tile + 1],
                   place_of_tile(tile, grid, scene.width, scene.height), gradients, slots.data());
    });
    const Camera<T> camera = load_camera(scene, image);
    parallel_pieces(run, scene.gaussians, kGaussiansPerPiece, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) {
        GaussianGradient<T> gradient{};
        if (of_image[i].opacity != T(0))
          gradient = project_vjp(load_gaussian(scene, image, i), camera,
                                 gather(&slots[slot_begin[i]], &slots[slot_begin[i + 1]]));
        write_gradient(scene, gradients, image, i, gradient);
      }
    });
  }
}

template void composite_backward(const SceneArguments<float>&, const Splat<float>*, const Bins&,
                                 const GradientArguments<float>&, const RunOnAllThreads&);
template void composite_backward(const SceneArguments<double>&, const Splat<double>*, const Bins&,
                                 const GradientArguments<double>&, const RunOnAllThreads&);

}  // namespace gaussian_rasterization::cpu
