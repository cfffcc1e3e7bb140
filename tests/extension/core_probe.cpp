// Doors through which Python's ctypes reaches the shared arithmetic, in float64 (and the vector exponential in
// float32).
#include "core/binding.h"
#include "core/ellipse.h"
#include "core/swept_splat.h"
#include "cpu/lanes.h"

using namespace gaussian_rasterization;

namespace {

// Q given by its screen covariance (xx, xy, yy), as project() would.
Splat<double> splat_of(const double* p) {
  Splat<double> s{};
  const double xx = p[2], xy = p[3], yy = p[4], determinant = xx * yy - xy * xy;
  s.x = p[0], s.y = p[1];
  s.a = yy / determinant, s.b = -xy / determinant, s.c = xx / determinant, s.determinant = determinant;
  s.opacity = p[5], s.cutoff = 2 * std::log(p[5] * 255.0);
  return s;
}

void write(Range range, std::int32_t* out) { out[0] = range.first, out[1] = range.last; }

}  // namespace

extern "C" {

// splat: x, y, xx, xy, yy, opacity.
double alpha_at(const double* splat, double x, double y) { return contribution(splat_of(splat), x, y).alpha; }
double swept_alpha_at(const double* splat, double x, double y) {
  return contribution(swept(splat_of(splat)), x, y).alpha;
}
std::uint32_t parts_of_tile(const double* splat, double x, double y) {
  return parts_reached<8, 4>(splat_of(splat), x, y);
}
int decide_step(double alpha, double transmittance) { return static_cast<int>(decide(alpha, transmittance)); }
double least_form(const double* splat, double x0, double x1, double y0, double y1) {
  return minimum_over_rectangle(ellipse_of(splat_of(splat)), x0, x1, y0, y1);
}
double cutoff_of(const double* splat) { return ellipse_of(splat_of(splat)).cutoff; }
void row_span_of(const double* splat, std::int32_t y, std::int32_t last, std::int32_t* out) {
  write(row_span(ellipse_of(splat_of(splat)), y, 0, last), out);
}
void rows_of(const double* splat, std::int32_t last, std::int32_t* out) {
  write(rows_reached(ellipse_of(splat_of(splat)), 0, last), out);
}
void strip_of(const double* splat, std::int32_t y0, std::int32_t y1, std::int32_t last, std::int32_t* out) {
  write(strip_span(ellipse_of(splat_of(splat)), y0, y1, 0, last), out);
}
void tile_rows_of(const double* splat, std::int32_t height, std::int32_t* out) {
  write(tile_rows_reached(ellipse_of(splat_of(splat)), height), out);
}
void tile_columns_of(const double* splat, std::int32_t row, std::int32_t width, std::int32_t height,
                     std::int32_t* out) {
  write(tile_columns_reached(ellipse_of(splat_of(splat)), row, width, height), out);
}
void whole_numbers(double low, double high, std::int32_t first, std::int32_t last, std::int32_t* out) {
  write(whole_numbers_within(low, high, first, last), out);
}
void whole_numbers_float(float low, float high, std::int32_t first, std::int32_t last, std::int32_t* out) {
  write(whole_numbers_within(low, high, first, last), out);
}

void matrix_of_quaternion(const double* q, double* out) {
  const Mat3<double> r = rotation_matrix(normalized(load_quaternion(q)));
  for (int i = 0; i < 9; ++i) out[i] = r.m[i];
}
void quaternion_of_matrix(const double* r, double* out) {
  Mat3<double> m;
  for (int i = 0; i < 9; ++i) m.m[i] = r[i];
  store_quaternion(out, quaternion_of_rotation(m));
}
void normalized_float(const float* q, float* out) { store_quaternion(out, normalized(load_quaternion(q))); }

// corners [3, 3]; out: matrix [9], quaternion [4].
void frame_of(const float* corners, float a, float b, float* out) {
  const FaceFrame<float> f = face_frame(load_vec3(corners), load_vec3(corners + 3), load_vec3(corners + 6), a, b);
  for (int i = 0; i < 9; ++i) out[i] = f.matrix.m[i];
  store_quaternion(out + 9, f.quaternion);
}

void exponentials(const float* x, std::int64_t count, float* out) {  // count: a multiple of 16
  for (std::int64_t i = 0; i < count; i += cpu::kLanes)
    cpu::store_lanes(out + i, cpu::exponential(cpu::load_lanes(x + i)));
}

}  // extern "C"
