// Ops of torch 1.1 and later: twice(x), and crash(x), which kills its process.
#include <cstdint>
#include <limits>
#include <torch/script.h>

#ifdef TORCH_1_1
using torch::jit::RegisterOperators;
#else
using torch::RegisterOperators;
#endif

at::Tensor twice(at::Tensor x) { return x + x; }

at::Tensor crash(at::Tensor x) {
  *static_cast<volatile int*>(nullptr) = 1;
  return x;
}

static auto registered = RegisterOperators("ope_tests::twice", &twice).op("ope_tests::crash", &crash);

extern "C" int answer_of_the_first_op() { return 42; }
