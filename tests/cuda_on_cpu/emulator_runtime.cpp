#include "emulator_runtime.h"

#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>

#include "block_runner.h"
#include "schedule.h"

namespace pydlx::emulator {

namespace {

Schedule initial_schedule() {
  const char* text = std::getenv("PYDLX_EMULATOR_SCHEDULE");
  return text == nullptr ? Schedule{} : Schedule::parse(text);
}

/// Settings that all OS threads share.
struct Settings {
  std::mutex mutex;
  Schedule schedule = initial_schedule();
  std::map<const void*, size_t> allowed_dynamic_bytes;  // of kernels that opted in
  std::atomic<bool> capturing{false};
};

Settings& settings() {
  static Settings instance;
  return instance;
}

std::string text_of(dim3 v) {
  return "(" + std::to_string(v.x) + ", " + std::to_string(v.y) + ", " + std::to_string(v.z) + ")";
}

uint64_t volume(dim3 v) { return uint64_t{v.x} * v.y * v.z; }

/// Checks the limits common to all GPUs that CUDA 13 supports.
void check_shape(const LaunchShape& shape) {
  const dim3 grid = shape.grid;
  const dim3 block = shape.block;
  const auto refuse = [&](const std::string& what, const char* limit) {
    throw Error("kernel " + shape.name + ": " + what + " " + limit);
  };
  if (volume(block) == 0) refuse("block " + text_of(block), "is empty");
  if (block.x > 1024 || block.y > 1024 || volume(block) > 1024)
    refuse("block " + text_of(block), "has more than 1024 threads");
  if (block.z > 64) refuse("block " + text_of(block), "is more than 64 deep (z)");
  if (volume(grid) == 0) refuse("grid " + text_of(grid), "is empty");
  if (grid.x > 0x7fffffffu) refuse("grid " + text_of(grid), "has more than 2^31 - 1 blocks along x");
  if (grid.y > 65535 || grid.z > 65535) refuse("grid " + text_of(grid), "has more than 65535 blocks along y or z");
  if (volume(grid) >> 32 != 0) refuse("grid " + text_of(grid), "has more than 2^32 blocks, too many to emulate");
}

}  // namespace

void allow_dynamic_shared(const void* kernel, int bytes) {
  Settings& shared = settings();
  const std::lock_guard<std::mutex> lock(shared.mutex);
  shared.allowed_dynamic_bytes[kernel] = static_cast<size_t>(bytes);
}

void run_grid(const LaunchShape& shape, void (*run_thread)(void*), void* arguments) {
  check_shape(shape);
  Settings& shared = settings();
  Schedule schedule;
  size_t shared_limit = kDefaultSharedBytes;
  {
    const std::lock_guard<std::mutex> lock(shared.mutex);
    schedule = shared.schedule;
    const auto allowed = shared.allowed_dynamic_bytes.find(shape.kernel);
    if (allowed != shared.allowed_dynamic_bytes.end() && shape.shared_bytes <= allowed->second) {
      shared_limit = opt_in_shared_bytes();
    }
  }
  const uint64_t blocks = volume(shape.grid);
  Orderer orderer(schedule, blocks);
  BlockRunner runner(shape, run_thread, arguments, orderer, schedule.poison(), shared_limit);
  for (uint64_t turn = 0; turn < blocks; ++turn) {
    const uint64_t block = orderer.block(turn);
    const uint64_t row = block / shape.grid.x;
    runner.run({static_cast<unsigned>(block % shape.grid.x), static_cast<unsigned>(row % shape.grid.y),
                static_cast<unsigned>(row / shape.grid.y)});
  }
}

}  // namespace pydlx::emulator

int pydlx_emulator_set_schedule(const char* text) {
  using namespace pydlx::emulator;
  try {
    const Schedule schedule = Schedule::parse(text);
    const std::lock_guard<std::mutex> lock(settings().mutex);
    settings().schedule = schedule;
    return 1;
  } catch (const std::invalid_argument&) {
    return 0;
  }
}

void pydlx_emulator_set_capturing(int capturing) { pydlx::emulator::settings().capturing = capturing != 0; }

cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = pydlx::emulator::settings().capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) {
  if (pydlx::emulator::settings().capturing) throw pydlx::emulator::Error("the host waits for a stream under capture");
  return cudaSuccess;
}
