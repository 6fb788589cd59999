#pragma once

// A fiber: a separate call stack that can be suspended and resumed.

#include <cstddef>

#if !defined(__x86_64__) && !defined(PYDLX_EMULATOR_UCONTEXT)
#define PYDLX_EMULATOR_UCONTEXT
#endif
#ifdef PYDLX_EMULATOR_UCONTEXT
#include <ucontext.h>
#endif

namespace pydlx::emulator {

/// Runs `entry`, which never returns, on a new stack. A fiber always runs on the same OS thread.
class Fiber {
 public:
  explicit Fiber(void (*entry)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Called outside of all fibers: runs this one until it suspends.
  void resume();
  /// Called inside this fiber: goes back to the resume() call.
  void suspend();

 private:
  static void start();
  void switch_in();
  void switch_out();
  void* stack_bottom() const;

  void (*entry_)();
  char* mapping_;
#ifdef PYDLX_EMULATOR_UCONTEXT
  ucontext_t inside_;
  ucontext_t outside_;
#else
  void* inside_;  // stack pointers, inside and outside of the fiber
  void* outside_ = nullptr;
#endif
  // What AddressSanitizer must be told at each switch.
  void* own_fake_stack_ = nullptr;
  const void* outer_bottom_ = nullptr;
  size_t outer_bytes_ = 0;
};

}  // namespace pydlx::emulator
