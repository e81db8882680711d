// What this process runs on: ISA levels, threads, and scratch memory.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace lstmcore {

constexpr int kMaxThreads = 1024;

// ISA levels, lowest first: "generic", "avx2", "avx512" on x86-64, "neon" on aarch64.
std::vector<std::string> compiled_isas();
std::vector<std::string> supported_isas();  // compiled, and this CPU has it

// The level a new Lstm gets: the highest supported one, or LSTMCORE_FORCE_ISA. Reads the environment, which
// no other thread may be changing meanwhile. Throws std::runtime_error when that names a level this build or
// this CPU lacks.
std::string current_isa();

// The most threads a call may use: the least of CPU affinity, cgroup quota, OMP_NUM_THREADS and
// LSTMCORE_NUM_THREADS, unless set_num_threads was called. 1 in a forked child.
int num_threads();
std::string num_threads_reason();
void set_num_threads(int threads);  // throws std::invalid_argument unless in 1..1024

// In place of set_num_threads for the calls that this thread makes, until it is called again with 0. Returns
// what held before, 0 for nothing. Throws std::invalid_argument unless in 0..1024.
int exchange_num_threads_of_this_thread(int threads);
int num_threads_of_this_thread();  // what it was called with; 0: nothing

// num_threads() in threads that have none of their own.
int num_threads_of_process();
// Bytes of scratch memory that there are: what the process keeps for calls without a Workspace, for each
// thread as much as its largest call needed, up to 16 MiB; and every Workspace, those of streams included.
std::size_t workspace_bytes();

// Gives back what the process keeps and no call is using now; returns how many bytes that was. May be called
// at any time, from any thread; the next calls allocate again.
std::size_t trim();

}  // namespace lstmcore
