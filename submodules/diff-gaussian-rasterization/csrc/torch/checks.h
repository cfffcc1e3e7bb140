// Checks at the border, common to all devices: what an argument is, and what it should have been. Inside, everything is
// trusted.
#pragma once

#include <ATen/core/Tensor.h>

#include <initializer_list>
#include <limits>
#include <string>

namespace gaussian_rasterization {

// One size of an expected shape: a number that follows from other arguments, and its letter in the documentation.
struct Size {
  char letter;
  std::int64_t value;
};

inline std::string text_of(std::initializer_list<Size> sizes) {
  std::string text = "[";
  for (const Size& size : sizes) {
    if (text.size() > 1) text += ", ";
    if (size.letter != 0) text += std::string(1, size.letter) + " = ";
    text += std::to_string(size.value);
  }
  return text + "]";
}

inline std::string text_of(const char* text) { return text; }
inline std::string text_of(const std::string& text) { return text; }
inline std::string text_of(std::int64_t number) { return std::to_string(number); }
inline std::string text_of(at::ScalarType type) { return c10::toString(type); }
inline std::string text_of(const at::Device& device) { return device.str(); }
inline std::string text_of(at::IntArrayRef sizes) {
  std::string text;
  for (const std::int64_t size : sizes) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

// The parts as one text. torch's own macros print them into a stream, which crashes where a toolchain links libstdc++
// statically into this library: the locale of one copy of it does not know the other's number formats.
template <typename... Parts>
std::string message(const Parts&... parts) {
  return (std::string() + ... + text_of(parts));
}

inline bool has_shape(const at::Tensor& tensor, std::initializer_list<Size> sizes) {
  if (tensor.dim() != static_cast<std::int64_t>(sizes.size())) return false;
  std::int64_t axis = 0;
  for (const Size& size : sizes)
    if (tensor.size(axis++) != size.value) return false;
  return true;
}

inline void check_shape(const char* op, const char* name, const at::Tensor& tensor, std::initializer_list<Size> sizes) {
  TORCH_CHECK_VALUE(has_shape(tensor, sizes),
                    message(op, ": ", name, " has shape ", tensor.sizes(), "; expected ", text_of(sizes)));
}

// Either of two shapes: one common to the batch, or one for each image.
inline void check_shape(const char* op, const char* name, const at::Tensor& tensor, std::initializer_list<Size> common,
                        std::initializer_list<Size> each) {
  TORCH_CHECK_VALUE(
      has_shape(tensor, common) || has_shape(tensor, each),
      message(op, ": ", name, " has shape ", tensor.sizes(), "; expected ", text_of(common), " or ", text_of(each)));
}

// The argument the others follow: its axes give the sizes. -1 is any size.
inline void check_leading(const char* op, const char* name, const at::Tensor& tensor, const char* shape,
                          std::int64_t dimensions, std::int64_t last) {
  TORCH_CHECK_VALUE(tensor.dim() == dimensions && (last < 0 || tensor.size(-1) == last),
                    message(op, ": ", name, " has shape ", tensor.sizes(), "; expected ", shape));
  TORCH_CHECK_TYPE(tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kDouble,
                   message(op, ": ", name, " is ", tensor.scalar_type(), "; expected float32 or float64"));
}

inline void check_type(const char* op, const char* name, const at::Tensor& tensor, at::ScalarType expected) {
  TORCH_CHECK_TYPE(tensor.scalar_type() == expected,
                   message(op, ": ", name, " is ", tensor.scalar_type(), "; expected ", expected));
}
inline void check_device(const char* op, const char* name, const at::Tensor& tensor, const at::Tensor& like) {
  TORCH_CHECK_VALUE(tensor.device() == like.device(), message(op, ": ", name, " is on ", tensor.device(), "; expected ",
                                                              like.device(), ", where the first argument is"));
}
inline void check_like(const char* op, const char* name, const at::Tensor& tensor, const at::Tensor& like) {
  check_device(op, name, tensor, like);
  check_type(op, name, tensor, like.scalar_type());
}

inline void check_scene(const char* op, const at::Tensor& means, const at::Tensor& rotations, const at::Tensor& scales,
                        const at::Tensor& opacities, const at::Tensor& colors, const at::Tensor& world_to_camera,
                        const at::Tensor& intrinsics, const at::Tensor& background, std::int64_t width,
                        std::int64_t height) {
  check_leading(op, "means", means, "[B, N, 3]", 3, 3);
  const Size images{'B', means.size(0)}, gaussians{'N', means.size(1)}, three{0, 3}, four{0, 4};
  check_like(op, "rotations", rotations, means), check_shape(op, "rotations", rotations, {images, gaussians, four});
  check_like(op, "scales", scales, means),
      check_shape(op, "scales", scales, {gaussians, three}, {images, gaussians, three});
  check_like(op, "opacities", opacities, means),
      check_shape(op, "opacities", opacities, {gaussians}, {images, gaussians});
  check_like(op, "colors", colors, means), check_shape(op, "colors", colors, {images, gaussians, three});
  check_like(op, "world_to_camera", world_to_camera, means);
  check_shape(op, "world_to_camera", world_to_camera, {{'C', 1}, three, four}, {{'C', images.value}, three, four});
  check_like(op, "intrinsics", intrinsics, means);
  check_shape(op, "intrinsics", intrinsics, {{'C', world_to_camera.size(0)}, four});
  check_like(op, "background", background, means), check_shape(op, "background", background, {images, three});
  constexpr std::int64_t kMaxSide = 1 << 15;  // tiles and pixels of an image are numbered in 32 bits
  TORCH_CHECK_VALUE(
      width > 0 && height > 0 && width <= kMaxSide && height <= kMaxSide,
      message(op, ": the image is ", width, " x ", height, " pixels; expected 1 to ", kMaxSide, " on each side"));
  TORCH_CHECK_VALUE(gaussians.value < std::numeric_limits<std::int32_t>::max(),
                    message(op, ": means has ", gaussians.value, " Gaussians; they are numbered in 32 bits"));
}

inline void check_color_sums(const char* op, const at::Tensor& means, std::int64_t width, std::int64_t height,
                             const at::Tensor& targets, const at::Tensor& unseen) {
  check_device(op, "target_images", targets, means), check_type(op, "target_images", targets, at::kByte);
  check_shape(op, "target_images", targets, {{'B', means.size(0)}, {'H', height}, {'W', width}, {0, 4}});
  check_device(op, "unseen", unseen, means), check_type(op, "unseen", unseen, at::kBool);
  check_shape(op, "unseen", unseen, {{'N', means.size(1)}});
}

inline void check_blend(const char* op, const at::Tensor& base, const at::Tensor& basis, const at::Tensor& weights) {
  check_leading(op, "base", base, "[N, D]", 2, -1);
  check_leading(op, "weights", weights, "[B, K]", 2, -1);
  check_like(op, "weights", weights, base), check_like(op, "basis", basis, base);
  check_shape(op, "basis", basis, {{'K', weights.size(1)}, {'N', base.size(0)}, {'D', base.size(1)}});
}

inline void check_index_type(const char* op, const char* name, const at::Tensor& tensor, const at::Tensor& like) {
  check_device(op, name, tensor, like);
  TORCH_CHECK_TYPE(tensor.scalar_type() == at::kInt || tensor.scalar_type() == at::kLong,
                   message(op, ": ", name, " is ", tensor.scalar_type(), "; expected int32 or int64"));
}

inline void check_mesh(const char* op, const at::Tensor& rotations, const at::Tensor& vertices, const at::Tensor& faces,
                       const at::Tensor& tangents, const at::Tensor& face_ids, const at::Tensor& barycentrics) {
  check_leading(op, "rotations", rotations, "[B, N, 4]", 3, 4);
  const Size images{'B', rotations.size(0)}, gaussians{'N', rotations.size(1)};
  check_like(op, "vertices", vertices, rotations);
  TORCH_CHECK_VALUE(
      vertices.dim() == 3 && vertices.size(0) == images.value && vertices.size(2) == 3,
      message(op, ": vertices has shape ", vertices.sizes(), "; expected [B = ", images.value, ", V, 3]"));
  check_index_type(op, "faces", faces, rotations);
  TORCH_CHECK_VALUE(faces.dim() == 2 && faces.size(1) == 3,
                    message(op, ": faces has shape ", faces.sizes(), "; expected [F, 3]"));
  check_like(op, "tangents", tangents, rotations),
      check_shape(op, "tangents", tangents, {{'F', faces.size(0)}, {0, 2}});
  check_index_type(op, "face_ids", face_ids, rotations), check_shape(op, "face_ids", face_ids, {gaussians});
  check_like(op, "barycentrics", barycentrics, rotations),
      check_shape(op, "barycentrics", barycentrics, {gaussians, {0, 3}});
}

}  // namespace gaussian_rasterization
