#pragma once

// Runs the threads of a block on fibers, one block after another, and synchronises them at barriers and in warps.

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "emulator_runtime.h"
#include "fiber.h"
#include "schedule.h"
#include "shared_memory.h"

namespace pydlx::emulator {

/// The barrier or collective at which a thread waits; threads that wait for each other must agree in all fields.
struct Meeting {
  const char* operation;
  Site site;
  unsigned mask;  // the participating lanes; 0 for the whole block

  bool operator==(const Meeting& other) const;
  std::string text() const;
};

/// The data that a thread sends to a barrier or collective, and receives from it.
struct Parcel {
  uint64_t sent = 0;
  int source = 0;
  bool predicate = false;
  uint64_t received = 0;
  unsigned yes = 0;  // mask of the lanes, or number of the block's threads, whose predicate is true
};

class BlockRunner {
 public:
  BlockRunner(const LaunchShape& shape, void (*run_thread)(void*), void* arguments, Orderer& orderer,
              unsigned char poison, size_t shared_limit);
  ~BlockRunner();

  /// Runs a block. Throws what a thread threw, or Error on a deadlock.
  void run(uint3 block);

  // Called by the running thread.

  /// Waits until all participants have arrived.
  const Parcel& meet(const Meeting& meeting, const Parcel& parcel);
  int threads() const { return threads_; }
  int lane() const { return current_ % warpSize; }
  unsigned lanes_of_warp() const;  // mask of the lanes that exist
  unsigned lanes_not_returned() const;
  SharedMemory& shared_memory() const;

 private:
  enum class State : unsigned char { kNotStarted, kReady, kWaiting, kReturned };
  struct Thread {
    State state;
    Fiber* fiber;
    Meeting meeting;
    Parcel parcel;
  };
  struct Abandoned {};  // thrown through the waiting threads of a failed block to unwind their stacks

  static void fiber_main();
  bool run_lanes_once(int warp);
  bool claim_next_lane();
  void run_current_thread();
  void become(int thread);
  void release_warp();
  bool all_at_one_barrier() const;
  void release_block();
  void abandon_block();
  std::string blocked_threads() const;
  Error error(const std::string& what) const;

  const LaunchShape& shape_;
  void (*const run_thread_)(void*);
  void* const arguments_;
  Orderer& orderer_;
  const unsigned char poison_;

  const int threads_;
  std::vector<Thread> thread_;
  std::vector<uint3> index_;
  std::vector<unsigned> waiting_lanes_;  // for each warp, the lanes that wait in a warp collective
  std::vector<int> warp_order_;
  std::vector<int> lane_order_;
  size_t turn_ = 0;     // index in lane_order_
  int warp_ = 0;        // the running warp
  int current_ = 0;     // the running thread
  int returned_ = 0;    // number of threads that have returned
  int at_barrier_ = 0;  // number of threads at a barrier
  bool abandoning_ = false;
  std::exception_ptr failure_;
};

}  // namespace pydlx::emulator
