// SPDX-License-Identifier: Apache-2.0
// The SIMT emulator judges kernels, so it is judged first: fragments against plain loops, and
// kernels that are wrong on purpose.
#include "tests/support/simt.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include "backends/cuda/device/device.hpp"

namespace attnrt::cuda {
namespace {

using namespace device;  // NOLINT(google-build-using-namespace): as kernels do
using test::simt_run;
using test::SimtLaunch;
using test::SimtMemory;

std::string run_one(uint32_t threads, uint32_t shared_bytes, const std::function<void()>& kernel) {
  SimtLaunch launch;
  launch.threads = threads;
  launch.shared_bytes = shared_bytes;
  std::string wrong = simt_run(launch, SimtMemory(), kernel);
  launch.reversed = true;
  if (wrong.empty()) wrong = simt_run(launch, SimtMemory(), kernel);
  return wrong;
}

bool mentions(const std::string& text, const std::string& word) {
  CAPTURE(text);
  CHECK(text.find(word) != std::string::npos);
  return text.find(word) != std::string::npos;
}

// c (16 x 8) = a (16 x 16) * b (16 x 8) by one warp, operands through shared memory and ldmatrix.
template <class T>
void multiply(const uint16_t* a, const uint16_t* b, float* c) {
  const uint32_t lane = lane_index();
  for (uint32_t i = lane; i < 256; i += 32) shared_store(2 * i, load(a + i));
  for (uint32_t i = lane; i < 128; i += 32) shared_store(512 + 2 * i, load(b + i));
  sync_block();
  uint32_t fa[4];
  uint32_t fb[4];
  load_matrix(fa, (lane % 16 * 16 + lane / 16 * 8) * 2);
  load_matrix_transposed(fb, 512 + lane % 16 * 8 * 2);
  float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  mma<T>(d, fa, fb[0], fb[1]);
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t row = lane / 4 + i / 2 * 8;
    store(c + row * 8 + lane % 4 * 2 + i % 2, d[i]);
  }
}

template <class T>
void check_multiply(uint16_t (*bits)(float)) {
  std::vector<uint16_t> a(256);
  std::vector<uint16_t> b(128);
  std::vector<float> c(128, -1.0f);
  const auto at_a = [](int i, int k) { return static_cast<float>((i * 5 + k * 3) % 11 - 5); };
  const auto at_b = [](int k, int j) { return static_cast<float>((k * 7 + j) % 13 - 6); };
  for (int i = 0; i < 16; ++i) {
    for (int k = 0; k < 16; ++k) a[static_cast<size_t>(i * 16 + k)] = bits(at_a(i, k));
    for (int j = 0; j < 8; ++j) b[static_cast<size_t>(i * 8 + j)] = bits(at_b(i, j));
  }
  SimtMemory memory;
  memory.readable(a.data(), a.size() * 2);
  memory.readable(b.data(), b.size() * 2);
  memory.writable(c.data(), c.size() * 4);
  SimtLaunch launch;
  launch.shared_bytes = 768;
  CHECK(simt_run(launch, memory, [&] { multiply<T>(a.data(), b.data(), c.data()); }) == "");
  CHECK(test::simt_counts().mma == 1);
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      float want = 0.0f;
      for (int k = 0; k < 16; ++k) want += at_a(i, k) * at_b(k, j);
      CHECK(c[static_cast<size_t>(i * 8 + j)] == want);
    }
  }
}

// What a kernel that stages through shared memory does, with each step that can be left out.
struct Staging {
  bool wait = true;
  bool sync = true;
  bool sync_before_reuse = true;
};

void copy_through_shared(const uint32_t* in, uint32_t* out, const Staging& staging) {
  const uint32_t t = thread_index();
  for (uint32_t round = 0; round < 2; ++round) {
    if (t < 16) copy_async(t * 16, in + round * 64 + t * 4, 16);
    copy_async_commit();
    if (staging.wait) copy_async_wait<0>();
    if (staging.sync) sync_block();
    const uint32_t value = shared_load<uint32_t>((63 - t) * 4);
    store(out + round * 64 + t, value);
    if (staging.sync_before_reuse) sync_block();
  }
}

std::string run_staging(const Staging& staging, std::vector<uint32_t>& out) {
  alignas(16) std::array<uint32_t, 128> in;
  for (uint32_t i = 0; i < 128; ++i) in[i] = i + 1;
  out.assign(128, 0);
  SimtMemory memory;
  memory.readable(in.data(), sizeof in);
  memory.writable(out.data(), 512);
  SimtLaunch launch;
  launch.threads = 64;
  launch.shared_bytes = 256;
  return simt_run(launch, memory, [&] { copy_through_shared(in.data(), out.data(), staging); });
}

}  // namespace

TEST_SUITE("SIMT emulator") {
  TEST_CASE("mma and ldmatrix are the product of two matrices, in f16 and bf16") {
    check_multiply<Half>(f32_to_f16);
    check_multiply<BFloat16>(f32_to_bf16);
  }

  TEST_CASE("every thread of every block runs once") {
    std::vector<uint32_t> seen(2 * 3 * 64, 0);
    SimtMemory memory;
    memory.writable(seen.data(), seen.size() * 4);
    SimtLaunch launch;
    launch.blocks_x = 3;
    launch.blocks_y = 2;
    launch.threads = 64;
    const std::string wrong = simt_run(launch, memory, [&] {
      uint32_t* mine = seen.data() + (block_y() * 3 + block_x()) * 64 + thread_index();
      store(mine, load(mine) + 1);
    });
    CHECK(wrong == "");
    CHECK(seen == std::vector<uint32_t>(seen.size(), 1));
  }

  TEST_CASE("shuffles read the other lane") {
    std::array<uint32_t, 64> out{};
    SimtMemory memory;
    memory.writable(out.data(), sizeof out);
    SimtLaunch launch;
    launch.threads = 64;
    CHECK(simt_run(launch, memory, [&] {
            const uint32_t t = thread_index();
            store(&out[t], shuffle_xor(t, 5) * 100 + shuffle(t, 3));
          }) == "");
    for (uint32_t t = 0; t < 64; ++t) CHECK(out[t] == (t ^ 5) * 100 + (t / 32 * 32 + 3));
  }

  TEST_CASE("cp.async brings bytes and zeros, after wait and barrier") {
    std::vector<uint32_t> out;
    CHECK(run_staging({}, out) == "");
    for (uint32_t i = 0; i < 128; ++i) CHECK(out[i] == i / 64 * 64 + 64 - i % 64);

    alignas(16) const std::array<uint16_t, 8> in = {1, 2, 3, 4, 5, 6, 7, 8};
    std::array<uint16_t, 8> partial{};
    SimtMemory memory;
    memory.readable(in.data(), 6);
    memory.writable(partial.data(), sizeof partial);
    SimtLaunch launch;
    launch.shared_bytes = 16;
    CHECK(simt_run(launch, memory, [&] {
            if (thread_index() == 0) copy_async(0, in.data(), 6);
            copy_async_commit();
            copy_async_wait<0>();
            sync_warp();
            const uint32_t t = thread_index();
            if (t < 8) store(&partial[t], shared_load<uint16_t>(2 * t));
          }) == "");
    CHECK(partial == std::array<uint16_t, 8>{1, 2, 3, 0, 0, 0, 0, 0});
  }

  TEST_CASE("a vote is over the block") {
    bool all = true;
    CHECK(run_one(64, 0, [&] {
            const bool some = sync_block_or(thread_index() == 40);
            const bool none = sync_block_or(false);
            if (!some || none) all = false;
          }) == "");
    CHECK(all);
  }
}

TEST_SUITE("kernels that are wrong on purpose") {
  TEST_CASE("missing waits and barriers around shared memory") {
    std::vector<uint32_t> out;
    mentions(run_staging({.wait = false}, out), "before cp.async was waited for");
    mentions(run_staging({.sync = false}, out), " is read, ");
    mentions(run_staging({.sync_before_reuse = false}, out), "no barrier in between");
  }

  TEST_CASE("memory that nobody wrote, or that does not exist") {
    mentions(run_one(32, 64, [] { (void)shared_load<uint32_t>(0); }), "nobody wrote it");
    mentions(run_one(32, 64, [] { shared_store(64, 1u); }), "the block has 64");
    mentions(run_one(32, 64, [] { shared_store(2, 1u); }), "not aligned");
    // A launch does not see what the one before it left.
    CHECK(run_one(32, 128, [] { shared_store(4 * thread_index(), 1u); }) == "");
    mentions(run_one(32, 128, [] { (void)shared_load<uint32_t>(4 * thread_index()); }),
             "nobody wrote it");
  }

  TEST_CASE("global memory: behind the end, before the start, read-only, unaligned") {
    std::array<uint32_t, 4> data{};
    SimtMemory memory;
    memory.readable(data.data(), sizeof data);
    const SimtLaunch launch;
    mentions(simt_run(launch, memory, [&] { (void)load(data.data() + thread_index()); }),
             "outside of all buffers (thread 4");
    mentions(simt_run(launch, memory, [&] { (void)load(data.data() - 1); }), "outside");
    mentions(simt_run(launch, memory, [&] { store(data.data(), 1u); }), "a write of 4 bytes");
    const auto* odd = reinterpret_cast<const std::byte*>(data.data()) + 2;
    mentions(simt_run(launch, memory, [&] { (void)load(reinterpret_cast<const uint32_t*>(odd)); }),
             "unaligned");
    mentions(run_one(32, 16, [&] { copy_async(0, data.data(), 16); }), "outside");
  }

  TEST_CASE("barriers that not all threads reach") {
    mentions(run_one(64, 0,
                     [] {
                       if (thread_index() < 32) sync_block();
                     }),
             "thread 32 has ended");
    mentions(run_one(32, 0,
                     [] {
                       if (thread_index() != 7) sync_warp();
                     }),
             "thread 7 has ended");
    mentions(run_one(64, 0,
                     [] {
                       if (thread_index() % 2 == 0) {
                         sync_block();
                       } else {
                         sync_warp();
                       }
                     }),
             "not all threads reach");
    mentions(run_one(32, 0,
                     [] {
                       if (thread_index() % 2 == 0) {
                         (void)shuffle(1u, 0);
                       } else {
                         (void)shuffle(2u, 0);
                       }
                     }),
             "different collectives");
  }

  TEST_CASE("after a failure the next launch is as good as new") {
    std::vector<uint32_t> out;
    mentions(run_staging({.sync = false}, out), " is read, ");
    CHECK(run_staging({}, out) == "");
  }
}

}  // namespace attnrt::cuda
