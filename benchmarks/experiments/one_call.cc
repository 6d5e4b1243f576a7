// All steps of an LSTM's recurrence in one call: the recurrent weights are packed once, each thread keeps its rows of
// the batch for all of time, and no step waits for another thread. An experiment, see one_call.py.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;
using Array = ffi::Buffer<ffi::F32>;
using Result = ffi::ResultBuffer<ffi::F32>;

constexpr int64_t kLanes = 16, kRows = 8, kColumns = 32;
typedef float Vector __attribute__((vector_size(64), aligned(4)));
typedef int32_t Integers __attribute__((vector_size(64), aligned(4)));

static Vector Splat(float x) { return Vector{} + x; }

// exp of float32 by a polynomial of degree 6 on [-ln 2 / 2, ln 2 / 2].
static Vector Exp(Vector x) {
  x = x > Splat(88.f) ? Splat(88.f) : x;
  x = x < Splat(-87.f) ? Splat(-87.f) : x;
  Vector shifted = x * 1.44269504f + 12582912.f;
  Vector n = shifted - 12582912.f;
  Vector r = x - n * 0.693359375f + n * 2.12194440e-4f;
  Vector p = Splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  Integers exponent = (__builtin_convertvector(n, Integers) + 127) << 23;
  Vector power;
  std::memcpy(&power, &exponent, sizeof(power));
  return p * power;
}

static Vector Sigmoid(Vector x) { return 1.f / (1.f + Exp(-x)); }
static Vector Tanh(Vector x) { return 2.f / (1.f + Exp(-2.f * x)) - 1.f; }

// w [K, N] in panels of 32 columns, zeros behind the last one.
static std::vector<float> Pack(const float* w, int64_t K, int64_t N, bool transposed) {
  int64_t panels = (N + kColumns - 1) / kColumns;
  std::vector<float> packed(panels * K * kColumns, 0.f);
  for (int64_t p = 0; p < panels; ++p)
    for (int64_t k = 0; k < K; ++k)
      for (int64_t j = 0; j < std::min(kColumns, N - p * kColumns); ++j)
        packed[(p * K + k) * kColumns + j] = transposed ? w[(p * kColumns + j) * K + k] : w[k * N + p * kColumns + j];
  return packed;
}

// out [rows, N] (+)= x [rows, K] @ w.
template <int rows>
static void Block(const float* x, int64_t ldx, const float* packed, float* out, int64_t ldo, int64_t K, int64_t N,
                  bool add) {
  for (int64_t first = 0; first < N; first += kColumns, packed += K * kColumns) {
    Vector sums[rows][2] = {};
    for (int64_t k = 0; k < K; ++k) {
      Vector a, b;
      std::memcpy(&a, packed + k * kColumns, sizeof(a));
      std::memcpy(&b, packed + k * kColumns + kLanes, sizeof(b));
      for (int r = 0; r < rows; ++r) {
        float factor = x[r * ldx + k];
        sums[r][0] += a * factor;
        sums[r][1] += b * factor;
      }
    }
    int64_t count = std::min(kColumns, N - first);
    for (int r = 0; r < rows; ++r) {
      float* to = out + r * ldo + first;
      const float* from = reinterpret_cast<const float*>(sums[r]);
      for (int64_t j = 0; j < count; ++j) to[j] = add ? to[j] + from[j] : from[j];
    }
  }
}

static void Product(const float* x, int64_t ldx, const std::vector<float>& packed, float* out, int64_t ldo,
                    int64_t rows, int64_t K, int64_t N, bool add) {
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) Block<kRows>(x + r * ldx, ldx, packed.data(), out + r * ldo, ldo, K, N, add);
  for (; r < rows; ++r) Block<1>(x + r * ldx, ldx, packed.data(), out + r * ldo, ldo, K, N, add);
}

// f(from, to) for equal shares of the rows, on XLA's own threads.
template <typename F>
static void OverRows(ffi::ThreadPool& pool, int64_t B, F f) {
  int64_t threads = std::max<int64_t>(1, std::min(B, pool.num_threads()));
  int64_t share = (B + threads - 1) / threads;
  std::atomic<int64_t> running{0};
  for (int64_t i = 1; i < threads && i * share < B; ++i) {
    ++running;
    pool.Schedule([&, i] {
      f(i * share, std::min(B, (i + 1) * share));
      --running;
    });
  }
  f(0, std::min(B, share));
  while (running.load() > 0) std::this_thread::yield();
}

// Of up to 16 entries.
static Vector Load(const float* x, int64_t count) {
  Vector v = {};
  std::memcpy(&v, x, count * sizeof(float));
  return v;
}
static void Store(float* x, Vector v, int64_t count) { std::memcpy(x, &v, count * sizeof(float)); }

// x @ w_x [T, B, 4H], w [H, 4H], b [4H] -> gates [T, B, 4H] (i, f, g, o), cs, hs and the h before each step [T, B, H];
// from zero states.
static ffi::Error Forward(ffi::ThreadPool pool, Array zx, Array w, Array bias, Result gates, Result cs, Result hs,
                          Result befores) {
  int64_t T = zx.dimensions()[0], B = zx.dimensions()[1], G = zx.dimensions()[2], H = G / 4;
  auto packed = Pack(w.typed_data(), H, G, false);
  OverRows(pool, B, [&](int64_t from, int64_t to) {
    std::vector<float> zero(std::max(H, G), 0.f);
    for (int64_t t = 0; t < T; ++t) {
      float* z = gates->typed_data() + (t * B + from) * G;
      const float* x = zx.typed_data() + (t * B + from) * G;
      for (int64_t b = 0; b < to - from; ++b)
        for (int64_t j = 0; j < G; ++j) z[b * G + j] = x[b * G + j] + bias.typed_data()[j];
      float* h0 = befores->typed_data() + (t * B + from) * H;
      if (t > 0) {
        std::memcpy(h0, hs->typed_data() + ((t - 1) * B + from) * H, (to - from) * H * sizeof(float));
        Product(h0, H, packed, z, G, to - from, H, G, true);
      } else {
        std::memset(h0, 0, (to - from) * H * sizeof(float));
      }
      for (int64_t b = from; b < to; ++b, z += G) {
        float* c = cs->typed_data() + (t * B + b) * H;
        float* h = hs->typed_data() + (t * B + b) * H;
        const float* before = t > 0 ? c - B * H : zero.data();
        for (int64_t j = 0; j < H; j += kLanes) {
          int64_t n = std::min(kLanes, H - j);
          Vector i = Sigmoid(Load(z + j, n)), f = Sigmoid(Load(z + H + j, n));
          Vector g = Tanh(Load(z + 2 * H + j, n)), o = Sigmoid(Load(z + 3 * H + j, n));
          Vector c1 = f * Load(before + j, n) + i * g;
          Store(z + j, i, n), Store(z + H + j, f, n), Store(z + 2 * H + j, g, n), Store(z + 3 * H + j, o, n);
          Store(c + j, c1, n), Store(h + j, o * Tanh(c1), n);
        }
      }
    }
  });
  return ffi::Error::Success();
}

// gates, cs, w as above and dys [T, B, H] -> dz [T, B, 4H].
static ffi::Error Backward(ffi::ThreadPool pool, Array gates, Array cs, Array w, Array dys, Result dz) {
  int64_t T = dys.dimensions()[0], B = dys.dimensions()[1], H = dys.dimensions()[2], G = 4 * H;
  auto packed = Pack(w.typed_data(), G, H, true);
  OverRows(pool, B, [&](int64_t from, int64_t to) {
    std::vector<float> dh((to - from) * H, 0.f), dc((to - from) * H, 0.f), zero(H, 0.f);
    for (int64_t t = T - 1; t >= 0; --t) {
      for (int64_t b = from; b < to; ++b) {
        const float* z = gates.typed_data() + (t * B + b) * G;
        const float* c = cs.typed_data() + (t * B + b) * H;
        const float* before = t > 0 ? c - B * H : zero.data();
        const float* dy = dys.typed_data() + (t * B + b) * H;
        float *d = dz->typed_data() + (t * B + b) * G, *dhb = dh.data() + (b - from) * H;
        float* dcb = dc.data() + (b - from) * H;
        for (int64_t j = 0; j < H; j += kLanes) {
          int64_t n = std::min(kLanes, H - j);
          Vector i = Load(z + j, n), f = Load(z + H + j, n), g = Load(z + 2 * H + j, n), o = Load(z + 3 * H + j, n);
          Vector tc = Tanh(Load(c + j, n)), d_h = Load(dhb + j, n) + Load(dy + j, n);
          Vector d_c = Load(dcb + j, n) + d_h * o * (1.f - tc * tc);
          Store(d + j, d_c * g * i * (1.f - i), n);
          Store(d + H + j, d_c * Load(before + j, n) * f * (1.f - f), n);
          Store(d + 2 * H + j, d_c * i * (1.f - g * g), n);
          Store(d + 3 * H + j, d_h * tc * o * (1.f - o), n);
          Store(dcb + j, d_c * f, n);
        }
      }
      if (t > 0) Product(dz->typed_data() + (t * B + from) * G, G, packed, dh.data(), H, to - from, G, H, false);
    }
  });
  return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(lstm_forward, Forward,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Array>().Arg<Array>().Arg<Array>()
                                  .Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(lstm_backward, Backward,
                              ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Array>().Arg<Array>().Arg<Array>()
                                  .Arg<Array>().Ret<Array>());
