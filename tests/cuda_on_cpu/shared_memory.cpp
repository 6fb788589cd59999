#include "shared_memory.h"

#include <cstring>
#include <string>

#include "emulator_runtime.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes)
#endif

namespace pydlx::emulator {

namespace {

constexpr size_t kMaxVariables = 64;
constexpr size_t kLineBytes = 64;
constexpr size_t kLines = kMostSharedBytes / kLineBytes + 2 * (kMaxVariables + 1);  // with dynamic memory

size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

SharedMemory::SharedMemory() : lines_(new Line[kLines]) {}

void SharedMemory::begin_launch(size_t dynamic_bytes, size_t limit) {
  ASAN_POISON_MEMORY_REGION(lines_.get(), kLines * kLineBytes);
  variables_.clear();
  lines_used_ = bytes_used_ = 0;
  limit_ = limit;
  dynamic_bytes_ = dynamic_bytes;
  dynamic_ = allocate(dynamic_bytes, 16);
}

void SharedMemory::begin_block(unsigned char poison) {
  poison_ = poison;
  std::memset(dynamic_, poison, dynamic_bytes_);
  for (const Variable& variable : variables_) std::memset(variable.address, poison, variable.bytes);
}

void* SharedMemory::find_or_allocate(const void* key, size_t bytes, size_t alignment) {
  for (const Variable& variable : variables_) {
    if (variable.key == key) return variable.address;
  }
  if (variables_.size() == kMaxVariables) throw Error("too many variables in shared memory");
  char* address = allocate(bytes, alignment);
  std::memset(address, poison_, bytes);
  variables_.push_back({key, address, bytes});
  return address;
}

char* SharedMemory::allocate(size_t bytes, size_t alignment) {
  bytes_used_ = round_up(bytes_used_, alignment) + bytes;
  if (bytes_used_ > limit_) {
    throw Error(std::to_string(bytes_used_) + " bytes of shared memory, more than the limit of " +
                std::to_string(limit_));
  }
  char* address = lines_[lines_used_ + 1].bytes;
  lines_used_ += 1 + round_up(bytes, kLineBytes) / kLineBytes;
  ASAN_UNPOISON_MEMORY_REGION(address, bytes);
  return address;
}

}  // namespace pydlx::emulator
