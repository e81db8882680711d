// cuda/ through its C interface, on the emulator or a GPU, against the CPU kernels in float64.
// Every path, dtype and option, odd sizes, chunked sequences, repeated calls (graphs), faults.
#include <cstdlib>

#include "harness.h"

using namespace lstmcore;
using namespace lstmcore::cuda;

namespace {

// Each option alone, on every path of every dtype.
std::vector<Case> single_options() {
  bool Case::* const options[] = {&Case::peepholes, &Case::clip,    &Case::batch_major,
                                  &Case::reverse,   &Case::lengths, &Case::state};
  std::vector<Case> cases;
  for (int dtype = 0; dtype < 4; ++dtype)
    for (int path = LSTMCORE_CUDA_STEPWISE; path <= LSTMCORE_CUDA_GRID; ++path) {
      if (dtype == LSTMCORE_CUDA_FLOAT64 && path != LSTMCORE_CUDA_STEPWISE) continue;
      const bool several_blocks = path == LSTMCORE_CUDA_CLUSTER || path == LSTMCORE_CUDA_GRID;
      const Case base{4, 3, 5, several_blocks ? 17 : 7, 0, dtype, path};
      for (const std::int64_t P : {0, 6})
        for (const auto option : options) {
          cases.push_back(base);
          cases.back().P = P;
          cases.back().*option = true;
        }
    }
  return cases;
}

// The ends of the sizes. No persistent kernel runs over nothing, which is the planner's business.
std::vector<Case> smallest_sizes() {
  std::vector<Case> cases;
  for (int dtype = 0; dtype < 4; ++dtype)
    for (int path = LSTMCORE_CUDA_AUTO; path <= LSTMCORE_CUDA_GRID; ++path) {
      if (dtype == LSTMCORE_CUDA_FLOAT64 && path > LSTMCORE_CUDA_STEPWISE) continue;
      const std::int64_t H = path == LSTMCORE_CUDA_CLUSTER || path == LSTMCORE_CUDA_GRID ? 17 : 1;
      cases.push_back({1, 1, 1, H, 0, dtype, path});
      cases.push_back({1, 2, 3, H, 0, dtype, path});
      cases.push_back({1, 2, 3, H, 1, dtype, path});
      if (path > LSTMCORE_CUDA_STEPWISE) continue;
      cases.push_back({0, 2, 3, 5, 0, dtype, path});
      cases.push_back({3, 0, 3, 5, 2, dtype, path});
      cases.push_back({0, 0, 3, 5, 0, dtype, path});
    }
  const std::vector<Case> plain = cases;
  for (Case c : plain) {
    c.lengths = c.state = c.reverse = c.clip = c.peepholes = true;
    cases.push_back(c);
  }
  return cases;
}

std::vector<Case> all_cases() {
  std::vector<Case> bases;
  for (int dtype = 0; dtype < 4; ++dtype) {
    bases.push_back({5, 3, 7, 13, 0, dtype});
    bases.push_back({5, 3, 7, 13, 6, dtype});
    if (dtype == LSTMCORE_CUDA_FLOAT64) continue;
    bases.push_back({6, 1, 5, 9, 0, dtype, LSTMCORE_CUDA_BLOCK});
    bases.push_back({4, 5, 3, 61, 0, dtype, LSTMCORE_CUDA_BLOCK});
    bases.push_back({6, 1, 5, 75, 0, dtype, LSTMCORE_CUDA_CLUSTER});
    bases.push_back({4, 9, 3, 30, 0, dtype, LSTMCORE_CUDA_CLUSTER});
    bases.push_back({6, 1, 5, 75, 0, dtype, LSTMCORE_CUDA_GRID});
    bases.push_back({4, 9, 3, 30, 0, dtype, LSTMCORE_CUDA_GRID});
  }
  std::vector<Case> cases;
  for (const Case& base : bases)
    for (const Case& c : variants(base)) cases.push_back(c);
  cases.push_back({300, 2, 3, 5});                               // several chunks
  cases.push_back({3, 1, 2, 260, 0, 0, LSTMCORE_CUDA_CLUSTER});  // weights in shared memory too
  cases.push_back({0, 3, 2, 5});
  cases.push_back({3, 0, 2, 5});
  cases.push_back({8, 2, 1, 1, 0, 0, LSTMCORE_CUDA_BLOCK});
  for (std::size_t k = cases.size() - 5; k + 2 < cases.size(); ++k)
    cases[k].batch_major = cases[k].reverse = true;
  return cases;
}

void check_errors(lstmcore_cuda_context* context) {
  const Case c{5, 3, 7, 13};
  Random random;
  const Model m = make_model(c, random);
  const lstmcore_cuda_spec spec = device_spec(c);
  const lstmcore_cuda_weights weights = host_weights(m);
  lstmcore_cuda_layer* layer = nullptr;
  api->create_layer(context, &spec, &weights, &layer, error);
  lstmcore_cuda_forward args{};
  args.steps = 5;
  args.batch = 3;
  const std::int64_t lengths[] = {1, 6, 2};
  args.lengths = lengths;
  expect(api->forward(layer, &args, error) == LSTMCORE_CUDA_INVALID, "lengths beyond T");
  args.lengths = nullptr;
  args.path = 9;
  expect(api->forward(layer, &args, error) == LSTMCORE_CUDA_INVALID, "no such path");
  api->destroy_layer(layer);
  lstmcore_cuda_context* other = nullptr;
  expect(api->create_context(99, std::getenv("LSTMCORE_CUBLAS"), &other, error) == LSTMCORE_CUDA_INVALID,
         "no cuda:99");
  expect(api->create_context(0, "/nowhere/libcublas.so", &other, error) == LSTMCORE_CUDA_UNAVAILABLE,
         "no cuBLAS");
  void* memory = nullptr;
  expect(api->allocate(0, std::size_t{1} << 60, nullptr, &memory, error) == LSTMCORE_CUDA_OUT_OF_MEMORY,
         "2^60 bytes");
  expect(lstmcore_cuda_api(99) == nullptr, "version 99");
}

void tests(lstmcore_cuda_context* context) {
  for (const Case& c : all_cases()) check_case(c, context);
  for (const Case& c : single_options()) check_case(c, context);
  for (const Case& c : smallest_sizes()) check_case(c, context);
  check_errors(context);
}

}  // namespace

int main() { return run_tests(tests); }
