#pragma once

// The shared memory of the running block: one buffer, reused by every block.

#include <cstddef>
#include <memory>
#include <vector>

namespace pydlx::emulator {

class SharedMemory {
 public:
  SharedMemory();

  /// Removes the last kernel's variables and reserves `dynamic_bytes`; static and dynamic memory together must not
  /// exceed `limit`.
  void begin_launch(size_t dynamic_bytes, size_t limit);

  /// Overwrites the previous block's data, because on a GPU the initial contents are undefined.
  void begin_block(unsigned char poison);

  void* dynamic() const { return dynamic_; }

  /// The variable `key`, allocated at its first use in a launch. Throws Error beyond the limit.
  void* find_or_allocate(const void* key, size_t bytes, size_t alignment);

 private:
  // Each variable starts on its own line, after a poisoned line, so that the sanitizer detects accesses outside of it.
  struct alignas(64) Line {
    char bytes[64];
  };
  struct Variable {
    const void* key;
    char* address;
    size_t bytes;
  };

  char* allocate(size_t bytes, size_t alignment);

  std::unique_ptr<Line[]> lines_;
  std::vector<Variable> variables_;
  char* dynamic_ = nullptr;
  size_t dynamic_bytes_ = 0;
  size_t lines_used_ = 0;
  size_t bytes_used_ = 0;  // as on a GPU, without the poisoned lines
  size_t limit_ = 0;
  unsigned char poison_ = 0;
};

}  // namespace pydlx::emulator
