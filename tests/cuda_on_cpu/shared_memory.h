#pragma once

// The shared memory of the running block: one buffer, used again by every block.

#include <cstddef>
#include <memory>
#include <vector>

namespace pydlx::emulator {

class SharedMemory {
 public:
  SharedMemory();

  /// Forgets the last kernel's variables and lays out `dynamic_bytes`; static and dynamic memory together may not
  /// exceed `limit`.
  void begin_launch(size_t dynamic_bytes, size_t limit);

  /// Overwrites all that the last block left: on a GPU, too, a block must not rely on what it finds.
  void begin_block(unsigned char poison);

  void* dynamic() const { return dynamic_; }

  /// The variable `key`, allocated at its first use in a launch. Throws Error beyond the limit.
  void* find_or_allocate(const void* key, size_t bytes, size_t alignment);

 private:
  // Each variable starts on a line of its own, with a free line before it: the sanitizer sees an access outside of it.
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
  size_t bytes_used_ = 0;  // as on a GPU: without the free lines
  size_t limit_ = 0;
  unsigned char poison_ = 0;
};

}  // namespace pydlx::emulator
