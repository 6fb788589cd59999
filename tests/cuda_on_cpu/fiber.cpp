#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace pydlx::emulator {

namespace {

// Only reserved: pages are allocated at their first use. Frames of sanitized code are several times larger.
constexpr size_t kStackBytes = 256 * 1024;

thread_local Fiber* starting = nullptr;

size_t page_bytes() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

/// Maps a stack with a guard page below it, so that an overflow crashes instead of corrupting memory.
char* map_stack() {
  const size_t bytes = page_bytes() + kStackBytes;
  void* mapping = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  mprotect(mapping, page_bytes(), PROT_NONE);
  return static_cast<char*>(mapping);
}

}  // namespace

#ifndef PYDLX_EMULATOR_UCONTEXT

// swapcontext makes a system call at every switch, which costs twenty times the switch itself. So on x86-64 the switch
// is in assembly: it swaps the stack pointer and the callee-saved registers (floating-point modes never change).
extern "C" void pydlx_emulator_switch_stack(void** save, void* load);
asm(R"(
  .text
  .p2align 4
  .hidden pydlx_emulator_switch_stack
  .globl pydlx_emulator_switch_stack
  .type pydlx_emulator_switch_stack, @function
pydlx_emulator_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size pydlx_emulator_switch_stack, . - pydlx_emulator_switch_stack
)");

#endif

Fiber::Fiber(void (*entry)()) : entry_(entry), mapping_(map_stack()) {
#ifdef PYDLX_EMULATOR_UCONTEXT
  getcontext(&inside_);
  inside_.uc_stack.ss_sp = stack_bottom();
  inside_.uc_stack.ss_size = kStackBytes;
  inside_.uc_link = nullptr;
  makecontext(&inside_, &Fiber::start, 0);
#else
  // The first switch pops six registers (zero) and returns to start(). Above them is a null return address, at which
  // debuggers stop, and which aligns the stack as start() expects it after a call.
  constexpr int kRegisters = 6;
  uintptr_t* const end = reinterpret_cast<uintptr_t*>(mapping_ + page_bytes() + kStackBytes);
  uintptr_t* const frame = end - 2 - kRegisters;
  frame[kRegisters] = reinterpret_cast<uintptr_t>(&Fiber::start);
  inside_ = frame;
#endif
}

Fiber::~Fiber() {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(stack_bottom(), kStackBytes);
#endif
  munmap(mapping_, page_bytes() + kStackBytes);
}

void* Fiber::stack_bottom() const { return mapping_ + page_bytes(); }

void Fiber::start() {
  Fiber* self = starting;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &self->outer_bottom_, &self->outer_bytes_);
#endif
  self->entry_();
  __builtin_unreachable();
}

void Fiber::resume() {
  starting = this;
#ifdef __SANITIZE_ADDRESS__
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, stack_bottom(), kStackBytes);
#endif
  switch_in();
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void Fiber::suspend() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&own_fake_stack_, outer_bottom_, outer_bytes_);
#endif
  switch_out();
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(own_fake_stack_, &outer_bottom_, &outer_bytes_);
#endif
}

#ifdef PYDLX_EMULATOR_UCONTEXT
void Fiber::switch_in() { swapcontext(&outside_, &inside_); }
void Fiber::switch_out() { swapcontext(&inside_, &outside_); }
#else
void Fiber::switch_in() { pydlx_emulator_switch_stack(&outside_, inside_); }
void Fiber::switch_out() { pydlx_emulator_switch_stack(&inside_, outside_); }
#endif

}  // namespace pydlx::emulator
