// SPDX-License-Identifier: Apache-2.0
// A user's program: one query over two keys, and the version it was linked with.
#include <attnrt/attnrt.hpp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  const std::string headers = std::to_string(attnrt::kVersionMajor) + "." +
                              std::to_string(attnrt::kVersionMinor) + "." +
                              std::to_string(attnrt::kVersionPatch);
  if (argc != 2 || headers != argv[1] || attnrt::Runtime::version() != headers) {
    std::fprintf(stderr, "headers %s, library %s, package %s\n", headers.c_str(),
                 std::string(attnrt::Runtime::version()).c_str(), argc == 2 ? argv[1] : "missing");
    return 1;
  }

  // Equal keys weigh their values equally: out is the mean of 1 and 3.
  const float q[] = {1.0f};
  float k[] = {0.5f, 0.5f};
  float v[] = {1.0f, 3.0f};
  float out[] = {0.0f};
  const int32_t cu_seqlens_q[] = {0, 1};
  const int32_t cu_seqlens_k[] = {0, 2};
  attnrt::Context context;
  attnrt::FlashAttnVarlenArgs args;
  args.q = attnrt::dense_tensor(q, attnrt::DType::kF32, 1, 1, 1);
  args.kv = attnrt::KvView::packed(k, v, attnrt::DType::kF32, 2, 1, 1);
  args.out = attnrt::dense_tensor(out, attnrt::DType::kF32, 1, 1, 1);
  args.cu_seqlens_q = cu_seqlens_q;
  args.cu_seqlens_k = cu_seqlens_k;
  const attnrt::Status status = attnrt::flash_attn_varlen(context, args);
  if (!status.ok() || std::fabs(out[0] - 2.0f) > 1e-6f) {
    std::fprintf(stderr, "out %g, expected 2: %s\n", static_cast<double>(out[0]),
                 status.message().c_str());
    return 1;
  }
  return 0;
}
