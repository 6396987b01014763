// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/expr_source.hpp"

#include <bit>
#include <cmath>
#include <cstdio>
#include <map>
#include <utility>
#include <vector>

namespace attnrt::cuda {
namespace {

using expr::ElementType;
using expr::Slot;
using expr::TileOp;
using expr::TileOperand;
using expr::TileRank;
using expr::TileStep;

static_assert(static_cast<int>(TileOp::kResult) == 68, "a new operation has to be printed, too");

const char* element_name(ElementType element) {
  switch (element) {
    case ElementType::kI32:
      return "ElementI32";
    case ElementType::kI8:
      return "ElementI8";
    case ElementType::kBool:
      return "ElementBool";
    case ElementType::kF32:
      return "ElementF32";
    case ElementType::kBF16:
      break;
  }
  return "ElementBF16";
}

// Every bit of it; names and NaN have no literal.
std::string float_literal(float value) {
  char text[48];
  if (std::isfinite(value)) {
    std::snprintf(text, sizeof text, "%af", static_cast<double>(value));
  } else {
    std::snprintf(text, sizeof text, "device::float_of_bits(0x%08xu)",
                  std::bit_cast<uint32_t>(value));
  }
  return text;
}

// Functions of kernels/expression_ops.cuh and of device.hpp, called with all operands; empty: see
// Printer::value.
const char* function_name(TileOp op) {
  switch (op) {
    case TileOp::kAdd:
      return "int_add";
    case TileOp::kSub:
      return "int_sub";
    case TileOp::kMul:
      return "int_mul";
    case TileOp::kNeg:
      return "int_neg";
    case TileOp::kAbs:
      return "int_abs";
    case TileOp::kMin:
      return "int_min";
    case TileOp::kMax:
      return "int_max";
    case TileOp::kFloorDiv:
      return "floor_divide";
    case TileOp::kFloorMod:
      return "floor_modulo";
    case TileOp::kShiftLeft:
      return "shift_left";
    case TileOp::kShiftRight:
      return "shift_right";
    case TileOp::kAddFloat:
      return "device::add";
    case TileOp::kSubFloat:
      return "float_sub";
    case TileOp::kMulFloat:
      return "device::mul";
    case TileOp::kDivFloat:
      return "device::divide";
    case TileOp::kAbsFloat:
      return "device::absolute";
    case TileOp::kMinFloat:
      return "float_min";
    case TileOp::kMaxFloat:
      return "float_max";
    case TileOp::kFma:
      return "device::fma";
    case TileOp::kExp:
      return "device::exponential";
    case TileOp::kExp2:
      return "device::exponential2";
    case TileOp::kLog:
      return "device::natural_log";
    case TileOp::kLog1p:
      return "device::log_of_one_plus";
    case TileOp::kTanh:
      return "device::hyperbolic_tangent";
    case TileOp::kSigmoid:
      return "sigmoid";
    case TileOp::kErf:
      return "device::error_function";
    case TileOp::kSqrt:
      return "device::square_root";
    case TileOp::kRsqrt:
      return "reciprocal_root";
    case TileOp::kSin:
      return "device::sine";
    case TileOp::kCos:
      return "device::cosine";
    case TileOp::kPow:
      return "device::power";
    default:
      return "";
  }
}

// Operators between two operands; empty: none.
const char* infix_operator(TileOp op) {
  switch (op) {
    case TileOp::kBitAnd:
      return " & ";
    case TileOp::kBitOr:
      return " | ";
    case TileOp::kBitXor:
      return " ^ ";
    case TileOp::kLess:
    case TileOp::kLessFloat:
      return " < ";
    case TileOp::kLessEqual:
    case TileOp::kLessEqualFloat:
      return " <= ";
    case TileOp::kEqual:
    case TileOp::kEqualFloat:
      return " == ";
    case TileOp::kAnd:
      return " && ";
    case TileOp::kXor:
      return " != ";
    default:
      return "";
  }
}

// One program as the body of a function. Registers are used again for other values, so every value
// gets a name of its own.
class Printer {
 public:
  Printer(const SourceProgram& program, size_t first_slot)
      : program_(program), first_slot_(first_slot) {}

  std::string mask_body() {
    print_steps();
    std::string all;
    for (const std::string& conjunct : conjuncts_) all += (all.empty() ? "" : " && ") + conjunct;
    return text_ + "    return " + (all.empty() ? "true" : all) + ";\n";
  }

  // The score is register 0 of the elements, before and after.
  std::string score_body() {
    names_[kScore] = "score";
    print_steps();
    return text_ + "    return " + names_[kScore] + ";\n";
  }

 private:
  using Register = std::pair<TileRank, int32_t>;
  static constexpr Register kScore{TileRank::kElement, 0};

  void print_steps() {
    text_ = "    using Int [[maybe_unused]] = ";
    text_ += program_.wide ? "int64_t;\n" : "int32_t;\n";
    const expr::TileCode& code = program_.code;
    for (int32_t i = 0; i < code.stage_end[expr::kTileRanks - 1]; ++i) print(code.steps[i]);
  }

  void print(const TileStep& step) {
    if (step.op == TileOp::kConjunct) {
      conjuncts_.push_back(in(step, 0));
    } else if (step.op == TileOp::kResult) {
      names_[kScore] = in(step, 0);
    } else {
      const std::string name = "v" + std::to_string(count_++);
      text_ += "    [[maybe_unused]] const " + std::string(type_of(step)) + " " + name + " = " +
               value(step) + ";\n";
      names_[{step.rank, step.out}] = name;
    }
  }

  [[nodiscard]] std::string in(const TileStep& step, size_t i) const {
    const TileOperand& operand = step.operands[i];
    const std::string& name = names_.at({operand.rank, operand.reg});
    return operand.negated ? "(!" + name + ")" : name;
  }

  [[nodiscard]] const Slot& slot(int32_t index) const {
    return program_.slots[static_cast<size_t>(index)];
  }
  [[nodiscard]] std::string slot_name(int32_t index) const {
    return "slots[" + std::to_string(first_slot_ + static_cast<size_t>(index)) + "]";
  }

  [[nodiscard]] const char* type_of(const TileStep& step) const {
    switch (step.op) {
      case TileOp::kLiteralPredicate:
      case TileOp::kSelectPredicate:
        return "bool";
      case TileOp::kLiteralFloat:
      case TileOp::kParamFloat:
      case TileOp::kDot:
      case TileOp::kSelectFloat:
        return "float";
      case TileOp::kSelect:
        return "Int";
      case TileOp::kLoad:
      case TileOp::kLoadRun: {
        const ElementType element = slot(step.slot).element;
        if (element == ElementType::kBool) return "bool";
        return element == ElementType::kI32 || element == ElementType::kI8 ? "Int" : "float";
      }
      default:
        if (step.op >= TileOp::kToFloat) return "float";
        return step.op >= TileOp::kLess && step.op <= TileOp::kXor ? "bool" : "Int";
    }
  }

  [[nodiscard]] std::string value(const TileStep& step) const {
    if (const std::string function = function_name(step.op); !function.empty()) {
      std::string call = function + "(" + in(step, 0);
      for (size_t i = 1; i < static_cast<size_t>(step.num_operands); ++i)
        call += ", " + in(step, i);
      return call + ")";
    }
    if (const std::string infix = infix_operator(step.op); !infix.empty()) {
      return in(step, 0) + infix + in(step, 1);
    }
    switch (step.op) {
      case TileOp::kSelect:
      case TileOp::kSelectFloat:
      case TileOp::kSelectPredicate:
        return in(step, 0) + " ? " + in(step, 1) + " : " + in(step, 2);
      case TileOp::kToFloat:
        return "static_cast<float>(" + in(step, 0) + ")";
      case TileOp::kNegFloat:
        return "-" + in(step, 0);
      case TileOp::kDifferenceToFloat:
        return "static_cast<float>(int_sub(" + in(step, 0) + ", " + in(step, 1) + "))";
      case TileOp::kScaledDifference:
        return "device::mul(static_cast<float>(int_sub(" + in(step, 0) + ", " + in(step, 1) +
               ")), " + in(step, 2) + ")";
      case TileOp::kAddRun:
        return "device::add(" + in(step, static_cast<size_t>(step.num_operands) - 1) + ", " +
               load(step, step.num_operands - 1) + ")";
      case TileOp::kAddProduct:
        return "device::add(" + in(step, 0) + ", " + product(step) + ")";
      case TileOp::kSubProduct:
        return "float_sub(" + in(step, 0) + ", " + product(step) + ")";
      default:
        return leaf(step);
    }
  }

  [[nodiscard]] std::string product(const TileStep& step) const {
    return "device::mul(" + in(step, 1) + ", " + in(step, 2) + ")";
  }

  [[nodiscard]] std::string leaf(const TileStep& step) const {
    const auto number = [](const std::string& what) { return "static_cast<Int>(" + what + ")"; };
    switch (step.op) {
      case TileOp::kQ:
        return number("at.q");
      case TileOp::kKv:
        return number("at.kv");
      case TileOp::kB:
        return number("at.b");
      case TileOp::kH:
        return number("at.h");
      case TileOp::kHkv:
        return number("at.hkv");
      case TileOp::kQLen:
        return number("at.q_len");
      case TileOp::kKvLen:
        return number("at.kv_len");
      case TileOp::kLiteralInt:
        return number(std::to_string(step.int_literal) + "LL");
      case TileOp::kLiteralFloat:
        return float_literal(step.float_literal);
      case TileOp::kLiteralPredicate:
        return step.int_literal != 0 ? "true" : "false";
      case TileOp::kParamInt:
        return number(slot_name(step.slot) + ".int_value");
      case TileOp::kParamFloat:
        return slot_name(step.slot) + ".float_value";
      case TileOp::kDot:
        return dot(step);
      default:
        return load(step, step.num_operands);
    }
  }

  [[nodiscard]] std::string dot(const TileStep& step) const {
    const auto side = [&](int32_t index) {
      return std::string(element_name(slot(index).element)) + ", " +
             std::to_string(slot(index).rank);
    };
    return "dot<" + side(step.slot) + ", " + side(step.kv_slot) + ">(" + slot_name(step.slot) +
           ", " + slot_name(step.kv_slot) + ", at)";
  }

  // The table's element at the first operands.
  [[nodiscard]] std::string load(const TileStep& step, int32_t indices) const {
    const std::string table = slot_name(step.slot);
    std::string offset;
    for (int32_t i = 0; i < indices; ++i) {
      const bool absent = step.operands[i].reg < 0;
      std::string index = absent ? "0" : in(step, static_cast<size_t>(i));
      if (i == step.run_dimension) {
        index = "index_along(" + index + ", at.kv, " + (step.descending ? "true" : "false") + ")";
      }
      offset += (i == 0 ? "" : " + ") + ("clamped_offset(" + table) + ", " + std::to_string(i) +
                ", " + index + ")";
    }
    return std::string("table_element<") + element_name(slot(step.slot).element) + ">(" + table +
           ", " + offset + ")";
  }

  const SourceProgram& program_;
  const size_t first_slot_;
  std::map<Register, std::string> names_;
  std::vector<std::string> conjuncts_;
  std::string text_;
  int32_t count_ = 0;
};

}  // namespace

std::string expression_source(const SourceProgram& mask, const SourceProgram& score,
                              std::string_view name) {
  const auto flag = [](const SourceProgram& program) {
    return program.exists() ? "true;\n" : "false;\n";
  };
  std::string text = "struct " + std::string(name) + " {\n";
  text += std::string("  static constexpr bool kMask = ") + flag(mask);
  text += std::string("  static constexpr bool kScore = ") + flag(score);
  text += "  DeviceSlot slots[" + std::to_string(num_device_slots(mask, score)) + "];\n";
  if (mask.exists()) {
    text +=
        "\n  [[nodiscard]] ATTNRT_DEVICE bool sees([[maybe_unused]] const ExprPoint& at) const "
        "{\n" +
        Printer(mask, 0).mask_body() + "  }\n";
  }
  if (score.exists()) {
    text +=
        "\n  [[nodiscard]] ATTNRT_DEVICE float score([[maybe_unused]] const ExprPoint& at,\n"
        "                                          [[maybe_unused]] float score) const {\n" +
        Printer(score, mask.slots.size()).score_body() + "  }\n";
  }
  return text + "};\n";
}

std::string kernel_source(const SourceProgram& mask, const SourceProgram& score,
                          const KernelShape& shape) {
  const std::string type = shape.dtype == DType::kF16 ? "Half" : "BFloat16";
  const std::string of =
      (shape.tall ? "TallShape<" : "ShortShape<") + std::to_string(shape.padded_dim) + ">";
  return "#include \"backends/cuda/kernels/attend.cuh\"\n"
         "#include \"backends/cuda/kernels/expression_ops.cuh\"\n"
         "#include \"backends/cuda/kernels/shapes.hpp\"\n"
         "\n"
         "namespace attnrt::cuda {\n" +
         expression_source(mask, score, "Expression") +
         "}  // namespace attnrt::cuda\n"
         "\n"
         "extern \"C\" __global__ void __launch_bounds__(attnrt::cuda::" +
         of + "::kThreads)\n    " + kKernelName +
         "(const __grid_constant__ attnrt::cuda::AttendParams params,\n"
         "                  const __grid_constant__ attnrt::cuda::Expression expression) {\n"
         "  using namespace attnrt::cuda;\n"
         "  AttendBlock<" +
         type + ", " + of +
         ", Expression>(params, expression).run();\n"
         "}\n";
}

}  // namespace attnrt::cuda
