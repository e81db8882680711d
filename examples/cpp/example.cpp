// An LSTM of one input and two units over five steps: how much of a pulse each unit remembers.
#include <cstdio>
#include <vector>

#include "lstmcore/lstm.h"

int main() {
  const std::int64_t T = 5, N = 1, I = 1, H = 2;
  const std::vector<float> W = {2, 1, 1.5, -1, 0, 0, 1, 2};  // [I, 4H]: gates i, j, f, o of both units
  const std::vector<float> R(H * 4 * H, 0.1f), b = {-1, -1, 0, 0, 1, -2, 1, 0};
  lstmcore::LstmSpec spec;
  spec.input_size = I;
  spec.num_units = H;
  spec.forget_bias = 0;  // it is in b
  const lstmcore::Lstm<float> lstm(spec, {W.data(), R.data(), b.data()});

  const std::vector<float> x = {1, 0, 0, 0, 0};
  std::vector<float> y(T * N * H), c(N * H);
  lstmcore::ForwardArgs<float> args;
  args.steps = T;
  args.batch = N;
  args.x = {x.data(), N * I, I};
  args.y = {y.data(), N * H, H};
  args.c_n = c.data();
  lstm.forward(args);
  for (std::int64_t t = 0; t < T; ++t) std::printf("%+.6f %+.6f\n", y[t * H], y[t * H + 1]);
}
