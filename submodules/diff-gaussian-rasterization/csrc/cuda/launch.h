// What every launch needs: block counts, scratch memory, and errors at the place where they arise. No torch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace gaussian_rasterization::cuda {

inline constexpr int kWarpSize = 32;

// Device memory that lives until the operator returns; the stream then orders its reuse. Of at least 16-byte alignment.
using Allocate = std::function<void*(std::size_t bytes)>;

template <typename T>
T* allocate_array(const Allocate& allocate, std::int64_t length) {
  return static_cast<T*>(allocate(static_cast<std::size_t>(length) * sizeof(T)));
}

inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("gaussian_rasterization: ") + what + ": " + cudaGetErrorString(error));
}
// Says whether the kernel was accepted. What goes wrong while it runs shows at a later synchronisation.
inline void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

inline unsigned blocks_for(std::int64_t items, std::int64_t items_per_block) {
  return static_cast<unsigned>((items + items_per_block - 1) / items_per_block);
}

}  // namespace gaussian_rasterization::cuda
