#include "bins.h"

#include <cstring>
#include <limits>
#include <stdexcept>

#include "../core/ellipse.h"
#include "depth_order.h"

namespace gaussian_rasterization::cpu {
namespace {

constexpr std::int64_t kPieceSize = 4096;  // Gaussians: about a millisecond of work

}  // namespace

// tile_begin first: it is the one that needs 8-byte alignment.
std::int64_t bins_length(std::int64_t images, std::int64_t gaussians, std::int64_t tiles, std::int64_t pairs) {
  return 2 * (images * tiles + 1) + 2 * pairs + images * (gaussians + 1);
}

Bins view_bins(std::int32_t* block, std::int64_t images, std::int64_t gaussians, std::int64_t tiles) {
  std::int32_t* slot_begin = block + 2 * (images * tiles + 1);
  return {reinterpret_cast<std::int64_t*>(block), slot_begin,
          reinterpret_cast<TileEntry*>(slot_begin + images * (gaussians + 1))};
}

template <typename T>
Binning<T>::Binning(const SceneArguments<T>& scene, Splat<T>* splats, std::int32_t* num_invalid,
                    const RunOnAllThreads& run)
    : scene_(scene),
      run_(run),
      splats_(splats),
      grid_(grid_of(scene.width, scene.height)),
      pieces_per_image_((scene.gaussians + kPieceSize - 1) / kPieceSize),
      pieces_(scene.images * pieces_per_image_),
      pair_counts_(scene.images * scene.gaussians),
      image_begin_(scene.images + 1) {
  parallel_pieces(run, static_cast<std::int64_t>(pieces_.size()), 1, [&](std::int64_t task, std::int64_t) {
    const std::int64_t image = task / pieces_per_image_, first = task % pieces_per_image_ * kPieceSize;
    project_piece(image, first, std::min(first + kPieceSize, scene_.gaussians), pieces_[task]);
  });
  for (std::int64_t image = 0; image < scene.images; ++image) {
    std::int64_t pairs = 0;
    num_invalid[image] = 0;
    for (std::int64_t i = image * pieces_per_image_; i < (image + 1) * pieces_per_image_; ++i) {
      pairs += static_cast<std::int64_t>(pieces_[i].tiles.size());
      num_invalid[image] += pieces_[i].invalid;
    }
    if (pairs > std::numeric_limits<std::int32_t>::max())
      throw std::runtime_error("gaussian_rasterization: more than 2^31 pairs of Gaussian and tile in one image");
    image_begin_[image + 1] = image_begin_[image] + pairs;
  }
  pairs_ = image_begin_[scene.images];
}

template <typename T>
void Binning<T>::project_piece(std::int64_t image, std::int64_t first, std::int64_t last, Piece& piece) {
  const Camera<T> camera = load_camera(scene_, image);
  const auto width = static_cast<std::int32_t>(scene_.width), height = static_cast<std::int32_t>(scene_.height);
  piece.tiles.reserve(3 * (last - first));
  for (std::int64_t i = first; i < last; ++i) {
    const Gaussian<T> gaussian = load_gaussian(scene_, image, i);
    Splat<T>& splat = splats_[image * scene_.gaussians + i];
    const std::size_t before = piece.tiles.size();
    const bool valid = is_valid(gaussian);
    piece.invalid += valid ? 0 : 1;
    if (valid && project(gaussian, camera, splat)) {
      const Ellipse<T> ellipse = ellipse_of(splat);
      const Range tile_rows = tile_rows_reached(ellipse, height);
      for (std::int32_t row = tile_rows.first; row <= tile_rows.last; ++row) {
        const Range columns = tile_columns_reached(ellipse, row, width, height);
        for (std::int32_t column = columns.first; column <= columns.last; ++column)
          piece.tiles.push_back(static_cast<std::int32_t>(row * grid_.columns + column));
      }
    }
    const std::size_t count = piece.tiles.size() - before;
    pair_counts_[image * scene_.gaussians + i] = static_cast<std::int32_t>(count);
    if (count == 0) splat = Splat<T>{};
  }
}

template <typename T>
void Binning<T>::write(const Bins& bins) const {
  bins.tile_begin[scene_.images * grid_.tiles()] = pairs_;
  parallel_pieces(run_, scene_.images, 1, [&](std::int64_t image, std::int64_t) { write_image(bins, image); });
}

template <typename T>
void Binning<T>::write_image(const Bins& bins, std::int64_t image) const {
  const std::int64_t gaussians = scene_.gaussians, tiles = grid_.tiles();
  const std::int32_t* counts = pair_counts_.data() + image * gaussians;
  std::int32_t* slot_begin = bins.slot_begin + image * (gaussians + 1);
  slot_begin[0] = 0;
  for (std::int64_t i = 0; i < gaussians; ++i) slot_begin[i + 1] = slot_begin[i] + counts[i];

  std::vector<std::int32_t> tile_of_slot(slot_begin[gaussians]);
  std::int32_t* end = tile_of_slot.data();
  for (std::int64_t i = 0; i < pieces_per_image_; ++i) {
    const std::vector<std::int32_t>& piece = pieces_[image * pieces_per_image_ + i].tiles;
    end = std::copy(piece.begin(), piece.end(), end);
  }

  std::vector<std::int64_t> next(tiles + 1);
  for (std::int32_t tile : tile_of_slot) ++next[tile + 1];
  next[0] = image_begin_[image];
  for (std::int64_t tile = 0; tile < tiles; ++tile) next[tile + 1] += next[tile];
  std::copy(next.begin(), next.end() - 1, bins.tile_begin + image * tiles);

  for (std::int32_t gaussian : depth_order(splats_ + image * gaussians, counts, gaussians))
    for (std::int32_t slot = slot_begin[gaussian]; slot < slot_begin[gaussian + 1]; ++slot)
      bins.entries[next[tile_of_slot[slot]]++] = {gaussian, slot};
}

template class Binning<float>;
template class Binning<double>;

}  // namespace gaussian_rasterization::cpu
