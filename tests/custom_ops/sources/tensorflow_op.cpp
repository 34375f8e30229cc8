// Ops of TensorFlow 1.12 and later: OpeTestsTwice(x), and OpeTestsCrash(x), which kills its process.
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

using namespace tensorflow;

REGISTER_OP("OpeTestsTwice").Input("x: float").Output("y: float");
REGISTER_OP("OpeTestsCrash").Input("x: float").Output("y: float");

class Twice : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const Tensor& x = context->input(0);
    Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, x.shape(), &y));
    for (int64_t i = 0; i < x.NumElements(); i++) y->flat<float>()(i) = 2 * x.flat<float>()(i);
  }
};

class Crash : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext*) override { *static_cast<volatile int*>(nullptr) = 1; }
};

REGISTER_KERNEL_BUILDER(Name("OpeTestsTwice").Device(DEVICE_CPU), Twice);
REGISTER_KERNEL_BUILDER(Name("OpeTestsCrash").Device(DEVICE_CPU), Crash);

extern "C" int answer_of_the_first_op() { return 42; }
