// What the kernels need of the device beyond plain CUDA C++: memory that other multiprocessors see, and the
// barriers of clusters. Tests put an emulator's version of this in its place.
#pragma once

#ifdef LSTMCORE_CUDA_EMULATED
#include "emulated_primitives.h"
#else

#include <cuda_runtime.h>

#include <cstdint>

#include "dtypes.h"

namespace lstmcore {
namespace cuda {

extern __shared__ float4 dynamic_shared_memory[];
static __device__ __forceinline__ char* dynamic_shared() {
  return reinterpret_cast<char*>(dynamic_shared_memory);
}

// Hides where the word came from: what is unpacked from it is not kept over time steps, in twice the
// registers.
static __device__ __forceinline__ void keep_packed(std::uint32_t& word) { asm volatile("" : "+r"(word)); }

static __device__ __forceinline__ std::uint64_t nanoseconds() {
  std::uint64_t time;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
  return time;
}

// A kernel that was launched to overlap the one before it: what that one writes is there after this. Every
// thread calls it, so that what waits for this kernel has waited for those before it too.
static __device__ __forceinline__ void wait_for_kernel_before() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The next kernel, if it was launched so, may start when every block has called this or has ended.
static __device__ __forceinline__ void let_next_kernel_start() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Each of the four words is whole; nothing is said of their order.
static __device__ __forceinline__ uint4 relaxed_load(const uint4* address) {
  uint4 v;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(address)
               : "memory");
  return v;
}

static __device__ __forceinline__ void relaxed_store(std::uint32_t* address, std::uint32_t value) {
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
}

// Several threads may: the host reads it.
static __device__ __forceinline__ void set_fault(int* fault) {
  asm volatile("st.relaxed.sys.u32 [%0], 1;" ::"l"(fault) : "memory");
}

// The value of lane (own lane ^ mask). All lanes of the warp call it.
static __device__ __forceinline__ std::uint32_t shuffle_xor(std::uint32_t value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

// 16 bytes from global to shared memory, there for this thread after wait_copies().
static __device__ __forceinline__ void start_copy(float4* to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                   static_cast<std::uint32_t>(__cvta_generic_to_shared(to))),
               "l"(from)
               : "memory");
}
static __device__ __forceinline__ void wait_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// d += a b, by all lanes of a warp: 16 gate rows and 8 columns, 16 deep with 16-bit types and 8 with tf32,
// which ignores the low 13 bits of a word.
#define LSTMCORE_MMA(shape, type)                                            \
  asm("mma.sync.aligned." shape ".row.col.f32." type "." type                \
      ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                       \
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1))
static __device__ __forceinline__ void mma(float (&d)[4], const uint4& a, std::uint32_t b0, std::uint32_t b1,
                                           float16) {
  LSTMCORE_MMA("m16n8k16", "f16");
}
static __device__ __forceinline__ void mma(float (&d)[4], const uint4& a, std::uint32_t b0, std::uint32_t b1,
                                           bfloat16) {
  LSTMCORE_MMA("m16n8k16", "bf16");
}
static __device__ __forceinline__ void mma(float (&d)[4], const uint4& a, std::uint32_t b0, std::uint32_t b1,
                                           tf32) {
  LSTMCORE_MMA("m16n8k8", "tf32");
}
#undef LSTMCORE_MMA

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define LSTMCORE_HAVE_CLUSTERS 1

static __device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

static __device__ __forceinline__ int cluster_rank() {
  std::uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return int(rank);
}

// All threads of all blocks of the cluster; what was written before is seen after.
static __device__ __forceinline__ void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
}

// One thread arrives; blocks of the cluster see the barrier after the next cluster_sync.
static __device__ __forceinline__ void mbarrier_init(std::uint64_t* barrier) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barrier)) : "memory");
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// The phase ends when this many bytes of cluster_store have come.
static __device__ __forceinline__ void mbarrier_expect(std::uint64_t* barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.relaxed.cta.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}

static __device__ __forceinline__ bool mbarrier_try_wait(std::uint64_t* barrier, int parity) {
  std::uint32_t done;
  asm volatile(
      "{\n\t.reg .pred p;\n\t"
      "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n\t"
      "selp.u32 %0, 1, 0, p;\n\t}"
      : "=r"(done)
      : "r"(shared_address(barrier)), "r"(parity)
      : "memory");
  return done;
}

// Writes a word into block `peer` of the cluster, where it has what `own` and `barrier` are here.
static __device__ __forceinline__ void cluster_store(std::uint32_t* own, std::uint64_t* barrier, int peer,
                                                     std::uint32_t value) {
  std::uint32_t address, signal;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared_address(own)), "r"(peer));
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(signal) : "r"(shared_address(barrier)), "r"(peer));
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(address),
               "r"(value), "r"(signal)
               : "memory");
}
#endif

}  // namespace cuda
}  // namespace lstmcore

#endif
