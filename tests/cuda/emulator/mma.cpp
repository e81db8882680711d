// Products of tensor cores. The fragments are those of the PTX manual, "Matrix fragments for mma.m16n8k16
// with floating point type" and "for mma.m16n8k8" with .tf32, in its names: element i of a lane's a, b, c.
#include "emulated_primitives.h"

namespace emulator {
namespace {

template <int K>
struct Factors {
  float A[16][K], B[K][8];
};

// Sums are float32 and rounded after each term; a device keeps some bits more, or drops them.
template <int K>
void accumulate(float (&d)[4], const Factors<K>& factors) {
  const int group_id = lane() >> 2, thread_in_group = lane() % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? group_id : group_id + 8, column = thread_in_group * 2 + (i & 1);
    for (int k = 0; k < K; ++k)
      d[i] = float(double(d[i]) + double(factors.A[row][k]) * double(factors.B[k][column]));
  }
}

float tf32_of(std::uint32_t word) { return lstmcore::cuda::bits_to_float(word & 0xffffe000u); }

}  // namespace

void mma_16bit(float (&d)[4], const LaneValues* lanes, float (*load)(std::uint16_t)) {
  Factors<16> factors;
  for (int laneid = 0; laneid < 32; ++laneid) {
    const int group_id = laneid >> 2, thread_in_group = laneid % 4;
    const auto element = [&](int i) {
      return load(std::uint16_t(lanes[laneid].word[i / 2] >> (16 * (i % 2))));
    };
    for (int i = 0; i < 8; ++i) {
      const int row = (0 <= i && i < 2) || (4 <= i && i < 6) ? group_id : group_id + 8;
      const int column = i < 4 ? thread_in_group * 2 + (i & 1) : thread_in_group * 2 + (i & 1) + 8;
      factors.A[row][column] = element(i);
    }
    for (int i = 0; i < 4; ++i) {
      const int row = i < 2 ? thread_in_group * 2 + (i & 1) : thread_in_group * 2 + (i & 1) + 8;
      factors.B[row][group_id] = element(8 + i);
    }
  }
  accumulate(d, factors);
}

void mma_tf32(float (&d)[4], const LaneValues* lanes) {
  Factors<8> factors;
  for (int laneid = 0; laneid < 32; ++laneid) {
    const int group_id = laneid >> 2, thread_in_group = laneid % 4;
    for (int i = 0; i < 4; ++i) {
      const int row = i == 0 || i == 2 ? group_id : group_id + 8;
      const int column = i < 2 ? thread_in_group : thread_in_group + 4;
      factors.A[row][column] = tf32_of(lanes[laneid].word[i]);
    }
    for (int i = 0; i < 2; ++i)
      factors.B[thread_in_group + 4 * i][group_id] = tf32_of(lanes[laneid].word[4 + i]);
  }
  accumulate(d, factors);
}

}  // namespace emulator
