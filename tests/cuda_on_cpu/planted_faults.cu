// One case per run: planted_faults CASE. Prints the result of the kernel; a right kernel's result is also checked here.
// Exit status: 0 finished, 1 a right kernel gave a wrong result, 2 unknown case, 3 the emulator raised an error, which
// is printed, and went on to run a right kernel.

#include "planted_faults.cuh"

#include <cstdio>
#include <cstring>
#include <exception>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace planted;

std::vector<int> numbers(int64_t count) {
  std::vector<int> x(static_cast<size_t>(count));
  std::iota(x.begin(), x.end(), 1);
  return x;
}

template <typename T>
void print(const std::vector<T>& values) {
  for (const T& value : values) std::printf("%g ", static_cast<double>(value));
  std::printf("\n");
}

void require(bool right, const char* what) {
  if (!right) throw std::logic_error(what);
}

void run_block_sum() {
  const int64_t count = 5 * kThreads - 7;
  std::vector<float> x(static_cast<size_t>(count));
  std::iota(x.begin(), x.end(), 0.0f);
  std::vector<float> y(5);
  PYDLX_LAUNCH(block_sum<float>, 5, kThreads, 0, nullptr, x.data(), y.data(), count);
  require(std::accumulate(y.begin(), y.end(), 0.0) == count * (count - 1) / 2, "block_sum");
}

void run_block_scan() {
  const auto x = numbers(4 * 96);
  std::vector<int> y(x.size());
  PYDLX_LAUNCH(block_scan, 4, 96, 96 * sizeof(int), nullptr, x.data(), y.data());
  for (size_t block = 0; block < 4; ++block) {
    int sum = 0;
    for (size_t i = block * 96; i < (block + 1) * 96; ++i) require(y[i] == (sum += x[i]), "block_scan");
  }
}

void run_transpose() {
  const int64_t rows = 37, columns = 19;
  const auto x = numbers(rows * columns);
  std::vector<int> y(x.size());
  PYDLX_LAUNCH(transpose, dim3(2, 3), dim3(kTile, kTile), 0, nullptr, x.data(), y.data(), rows, columns);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      require(y[static_cast<size_t>(j * rows + i)] == x[static_cast<size_t>(i * columns + j)], "transpose");
    }
  }
}

void run_shuffles() {
  std::vector<int> y(5 * 32);
  PYDLX_LAUNCH(shuffles, 1, 32, 0, nullptr, y.data(), 8);
  for (int lane = 0; lane < 32; ++lane) {
    const int* mine = &y[static_cast<size_t>(5 * lane)];
    require(mine[0] == lane / 8 * 8 + 3, "__shfl_sync");
    require(mine[1] == (lane % 8 == 0 ? lane : lane - 1), "__shfl_up_sync");
    require(mine[2] == (lane % 8 >= 6 ? lane : lane + 2), "__shfl_down_sync");
    require(mine[3] == (lane ^ 5), "__shfl_xor_sync");
    require(mine[4] == (lane < 16 ? 16 : 4 + 100 + 1000), "votes");
  }
}

void run_block_votes() {
  auto x = numbers(kThreads);
  x[5] = -3;
  std::vector<int> y(12);
  PYDLX_LAUNCH(block_votes, 1, kThreads, 0, nullptr, x.data(), y.data());
  // -3 & 7 is 5, and so loses its 6 to 5.
  require(y == std::vector<int>{kThreads - 1, 0, 1, kThreads, 16, 16, 16, 16, 16, 17, 15, 16}, "block_votes");
}

void run_twice() {
  const int64_t count = 5000;
  const auto x = numbers(count);
  std::vector<int> y(x.size());
  const unsigned blocks = pydlx::blocks_for(count, kThreads);
  require(blocks * kThreads < count, "too many blocks for a test of the stride");
  PYDLX_LAUNCH(twice, blocks, kThreads, 0, nullptr, x.data(), y.data(), count);
  for (size_t i = 0; i < x.size(); ++i) require(y[i] == 2 * x[i], "twice");
}

void run_large_shared() {
  const int count = 60 * 1024 / sizeof(int);
  std::vector<int> y(static_cast<size_t>(count));
  const auto status = cudaFuncSetAttribute(large_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, 60 * 1024);
  require(status == cudaSuccess, "cudaFuncSetAttribute");
  PYDLX_LAUNCH(large_shared, 1, 256, 60 * 1024, nullptr, y.data(), count);
  for (int i = 0; i < count; ++i) require(y[static_cast<size_t>(i)] == i, "large_shared");
}

void run_concurrently() {
  std::vector<std::thread> threads;
  std::exception_ptr failure[4];
  for (auto& mine : failure) {
    threads.emplace_back([&mine] {
      try {
        for (int i = 0; i < 5; ++i) run_block_scan();
      } catch (...) {
        mine = std::current_exception();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& each : failure) {
    if (each) std::rethrow_exception(each);
  }
}

void run_missing_barrier() {
  const auto x = numbers(kThreads);
  std::vector<int> y(kThreads);
  PYDLX_LAUNCH(missing_barrier, 1, kThreads, 0, nullptr, x.data(), y.data());
  print(y);
}

void run_missing_warp_barrier() {
  const auto x = numbers(32);
  std::vector<int> y(32);
  PYDLX_LAUNCH(missing_warp_barrier, 1, 32, 0, nullptr, x.data(), y.data());
  print(y);
}

void run_block_order() {
  std::vector<int> y(9);
  PYDLX_LAUNCH(block_order, 8, 1, 0, nullptr, y.data());
  print(y);
}

void run_uninitialised_shared() {
  std::vector<float> y(3 * kThreads);
  PYDLX_LAUNCH(uninitialised_shared, 3, kThreads, 0, nullptr, y.data());
  print(y);
}

void run_misaligned_vector() {
  alignas(16) float x[8] = {};
  std::vector<float> y(1);
  PYDLX_LAUNCH(misaligned_vector, 1, 1, 0, nullptr, x, y.data());
}

void run_global_overrun() {
  std::vector<int> y(100);
  PYDLX_LAUNCH(global_overrun, 1, kThreads, 0, nullptr, y.data(), 100);
}

void run_local_overrun() {
  std::vector<int> y(kThreads);
  PYDLX_LAUNCH(local_overrun, 1, kThreads, 0, nullptr, y.data(), 4);
  print(y);
}

#define LAUNCHING(kernel, block, shared_bytes)                       \
  [] {                                                               \
    std::vector<int> y(2048);                                        \
    PYDLX_LAUNCH(kernel, 2, block, shared_bytes, nullptr, y.data()); \
  }

struct Case {
  const char* name;
  void (*run)();
};

const Case kCases[] = {
    {"block_sum", run_block_sum},
    {"block_scan", run_block_scan},
    {"transpose", run_transpose},
    {"shuffles", run_shuffles},
    {"block_votes", run_block_votes},
    {"twice", run_twice},
    {"large_shared", run_large_shared},
    {"concurrently", run_concurrently},
    {"missing_barrier", run_missing_barrier},
    {"missing_warp_barrier", run_missing_warp_barrier},
    {"block_order", run_block_order},
    {"uninitialised_shared", run_uninitialised_shared},
    {"misaligned_vector", run_misaligned_vector},
    {"global_overrun", run_global_overrun},
    {"local_overrun", run_local_overrun},
    {"shared_overrun", LAUNCHING(shared_overrun, kThreads, 0)},
    {"divergent_barrier", LAUNCHING(divergent_barrier, kThreads, 0)},
    {"different_barriers", LAUNCHING(different_barriers, kThreads, 0)},
    {"divergent_shuffle", LAUNCHING(divergent_shuffle, 32, 0)},
    {"lane_not_in_mask", LAUNCHING(lane_not_in_mask, 32, 0)},
    {"trap", LAUNCHING(trap, kThreads, 0)},
    {"too_many_threads", LAUNCHING(trap, dim3(32, 33), 0)},
    {"too_deep", LAUNCHING(trap, dim3(1, 1, 65), 0)},
    {"too_much_shared", LAUNCHING(trap, kThreads, 48 * 1024 + 1)},
    {"too_much_shared_in_all", LAUNCHING(shared_overrun, kThreads, 48 * 1024 - 4)},
    {"no_threads", LAUNCHING(trap, dim3(0), 0)},
};

int run(const Case& chosen) {
  try {
    chosen.run();
    return 0;
  } catch (const std::logic_error& wrong) {
    std::fprintf(stderr, "wrong result: %s\n", wrong.what());
    return 1;
  } catch (const std::runtime_error& fault) {
    std::fprintf(stderr, "%s\n", fault.what());
    run_block_sum();
    return 3;
  }
}

}  // namespace

int main(int argc, char** argv) {
  for (const Case& each : kCases) {
    if (argc == 2 && std::strcmp(argv[1], each.name) == 0) return run(each);
  }
  std::fprintf(stderr, "usage: planted_faults CASE\n");
  return 2;
}
