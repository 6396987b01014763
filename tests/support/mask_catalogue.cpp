// SPDX-License-Identifier: Apache-2.0
#include "tests/support/mask_catalogue.hpp"

#include <algorithm>
#include <numbers>
#include <numeric>
#include <random>

namespace attnrt::testing {
namespace {

using expr::ElementType;
using Ints = std::vector<int32_t>;

class Catalogue {
 public:
  explicit Catalogue(int32_t tokens) : n_(tokens) {
    Ints cuts;
    while (cuts.size() < 11) {
      const int32_t cut = 1 + uniform(n_ - 1);
      if (std::ranges::find(cuts, cut) == cuts.end()) cuts.push_back(cut);
    }
    std::ranges::sort(cuts);
    starts_ = {0};
    starts_.insert(starts_.end(), cuts.begin(), cuts.end());
    starts_.push_back(n_);
    for (int32_t d = 0; d < 12; ++d) doc_.insert(doc_.end(), length(d), d);
  }

  std::vector<MaskCase> build() {
    basic();
    prefixes();
    sharing();
    sparse();
    flash_mask();
    grids();
    video();
    trees();
    tracks();
    return std::move(cases_);
  }

 private:
  int32_t uniform(int32_t bound) {
    return static_cast<int32_t>(random_() % static_cast<uint32_t>(bound));
  }

  [[nodiscard]] size_t length(int32_t d) const {
    const auto at = static_cast<size_t>(d);
    return static_cast<size_t>(starts_[at + 1] - starts_[at]);
  }

  MaskCase& add(std::string name, std::string text) {
    MaskCase& made = cases_.emplace_back();
    made.name = std::move(name);
    made.text = std::move(text);
    made.q_len = n_;
    made.kv_len = n_;
    return made;
  }

  static void table(MaskCase& to, std::string name, Ints values) {
    const auto size = static_cast<int64_t>(values.size());
    to.tables.push_back({std::move(name), ElementType::kI32, {size}, std::move(values), {}, {}});
  }

  MaskCase& with_doc(MaskCase& to) {
    table(to, "doc", doc_);
    return to;
  }

  template <class Function>
  Ints per_doc(const Function& function) {
    Ints out;
    for (int32_t d = 0; d < 12; ++d) {
      out.push_back(function(starts_[static_cast<size_t>(d)], static_cast<int32_t>(length(d))));
    }
    return out;
  }

  [[nodiscard]] Ints per_token(const Ints& of_doc) const {
    Ints out;
    for (const int32_t d : doc_) out.push_back(of_doc[static_cast<size_t>(d)]);
    return out;
  }

  void basic() {
    add("none", "true");
    add("causal", "kv <= q");
    add("inverse causal", "kv >= q");
    add("bottom-right causal", "kv <= q + (kv_len - q_len)").q_len = n_ / 2 - 3;
    add("sliding", "kv <= q && q - kv <= w").ints = {{"w", n_ / 4 - 24}};
    add("symmetric window", "abs(q - kv) <= w").ints = {{"w", n_ / 16}};
    add("left-right window", "q - kv <= l && kv - q <= r").ints = {{"l", n_ / 8}, {"r", 5}};
    add("chunked", "kv <= q && q // c == kv // c").ints = {{"c", n_ / 10}};
    add("dilated", "let d = abs(q - kv); d <= w && d % 4 == 0").ints = {{"w", n_ / 8}};
    add("strided", "kv <= q && (q - kv < 64 || (q - kv) % 64 == 0)");
    add("fixed sparse", "kv <= q && (q // 64 == kv // 64 || kv % 64 >= 56)");
    add("even keys", "kv % 2 == 0");
    table(add("padding", "kv < len[b]"), "len", {1, n_ - 77, 0});
    cases_.back().b = 1;
    table(add("left padding", "kv <= q && kv >= start[b]"), "start", {0, 0, n_ / 3});
    cases_.back().b = 2;
    add("empty rows", "kv <= q - 100 && q % 50 > 20");
    add("contradiction", "q >= kv && q < kv");
    add("tautology", "q >= kv || q < kv");
    add("every other sequence", "kv <= q && b % 2 == 0").b = 3;
    MaskCase& decode = add("window, decode of 7", "kv <= q && q - kv < w");
    decode.ints = {{"w", n_ / 4}};
    decode.q_begin = n_ - 7;
    decode.q_len = 7;
    table(add("window by head", "kv <= q && q - kv < win[h]"), "win", {n_ / 8, n_ / 4});
    cases_.back().num_heads = 2;
    add("more queries than keys", "kv <= q").kv_len = n_ / 3;
  }

  void prefixes() {
    add("prefix-LM", "kv < p || kv <= q").ints = {{"p", n_ / 4 - 24}};
    table(add("prefix by sequence", "q <= p[b] && kv <= p[b] || kv <= q"), "p", {3, n_ / 5});
    cases_.back().b = 1;
    add("image prefixes",
        "kv <= q || kv >= 50 && kv < 120 && q >= 50 && q < 120 || "
        "kv >= 150 && kv < 190 && q >= 150 && q < 190");
    with_doc(add("document", "doc[q] == doc[kv]"));
    with_doc(add("causal document", "doc[q] == doc[kv] && kv <= q"));
    table(with_doc(add("causal doc by row start", "kv >= off[doc[q]] && kv <= q")), "off", starts_);
    table(with_doc(add("document, logical index",
                       "doc[q] == doc[kv] && q - off[doc[q]] >= kv - off[doc[kv]]")),
          "off", starts_);
    table(with_doc(add("prefix-LM document", "doc[q] == doc[kv] && (kv < pre[doc[q]] || kv <= q)")),
          "pre", per_doc([](int32_t begin, int32_t len) { return begin + len * 2 / 5; }));
    add("batchify", "q // c == kv // c && q % c >= kv % c").ints = {{"c", n_ / 16}};
    with_doc(add("document with a window", "doc[q] == doc[kv] && abs(q - kv) < 40"));
  }

  void sharing() {
    add("DPO pair", "!(q >= r && c <= kv && kv < r) && kv <= q").ints = {{"c", n_ / 2},
                                                                         {"r", n_ * 3 / 4}};
    MaskCase& packed = with_doc(add("DPO packed",
                                    "!(q >= r[q] && c[q] <= kv && kv < r[q]) && kv <= q && "
                                    "doc[q] == doc[kv]"));
    table(packed, "c", per_token(per_doc([](int32_t b, int32_t len) { return b + len / 2; })));
    table(packed, "r", per_token(per_doc([](int32_t b, int32_t len) { return b + len * 3 / 4; })));
    MaskCase& share = with_doc(add("shared question",
                                   "doc[q] == doc[kv] && kv <= q && "
                                   "(kv < qend[q] || seg[q] == seg[kv])"));
    table(share, "qend", per_token(per_doc([](int32_t b, int32_t l) { return b + l * 3 / 5; })));
    Ints segment;
    for (int32_t d = 0; d < 12; ++d) {
      const auto len = static_cast<int32_t>(length(d));
      const int32_t question = len * 3 / 5;
      const int32_t answer = std::max(1, (len - question) / 3);
      for (int32_t i = 0; i < len; ++i) {
        segment.push_back(i < question ? 3 * d - 1 : 3 * d + std::min(2, (i - question) / answer));
      }
    }
    table(share, "seg", segment);
    table(
        with_doc(add("shared prefix", "kv <= q && (doc[q] == doc[kv] || pre[doc[q]] == doc[kv])")),
        "pre", {0, 0, 0, 0, 4, 4, 4, 7, 7, 7, 7, 7});
  }

  void sparse() {
    Ints global(static_cast<size_t>(n_));
    for (size_t i = 0; i < 8; ++i) global[i] = 1;
    global[static_cast<size_t>(n_ / 2 - 48)] = 1;
    table(add("Longformer", "abs(q - kv) <= w || g[q] == 1 || g[kv] == 1"), "g", global);
    cases_.back().ints = {{"w", n_ / 16}};
    add("StreamingLLM", "kv <= q && (kv < 4 || q - kv < w)").ints = {{"w", n_ / 8}};
    add("A-shape", "kv <= q && (kv < 64 || q - kv < 96 || q >= last)").ints = {{"last", n_ - 30}};
    random_blocks(add("BigBird",
                      "bool blk[,]; kv <= q && (abs(q - kv) < 64 || kv < 16 || "
                      "blk[q // 64, kv // 64])"),
                  "blk", 64, 3);
    with_doc(add("causal blockwise", "kv <= q && (doc[q] == doc[kv] || doc[q] == 11)"));
    MaskCase& qk =
        add("QK-sparse", "bool dropq[]; bool dropk[]; kv <= q && !dropq[q] && !dropk[kv]");
    for (const char* name : {"dropq", "dropk"}) {
      std::vector<int8_t> drop(static_cast<size_t>(n_));
      for (int32_t i = n_ / 4; i < n_ / 2; ++i) drop[static_cast<size_t>(i)] = 1;
      qk.tables.push_back({name, ElementType::kBool, {n_}, {}, drop, {}});
    }
    Ints evicted;
    for (int32_t i = 0; i < n_; ++i) evicted.push_back(i + 1 + uniform(n_));
    table(add("random eviction", "kv <= q && q < ev[kv]"), "ev", evicted);
    Ints order(static_cast<size_t>(n_));
    std::iota(order.begin(), order.end(), 0);
    std::ranges::shuffle(order, random_);
    table(add("permuted causal", "p[q] >= p[kv]"), "p", order);
    random_blocks(add("top-k tiles", "bool top[,]; top[q // 32, kv // 64]"), "top", 32, 4);
  }

  void flash_mask() {
    MaskCase& to = add("FlashMask, four columns",
                       "!(lts[kv] <= q && q < lte[kv]) && !(uts[kv] <= q && q < ute[kv])");
    Ints lts, lte, uts, ute;
    const int32_t block = n_ / 8;
    for (int32_t j = 0; j < n_; ++j) {
      lts.push_back(std::min(n_, (j / block + 2) * block));
      lte.push_back(std::min(n_, lts.back() + block * 7 / 5));
      uts.push_back(0);
      ute.push_back(std::max(0, (j / block - 1) * block));
    }
    table(to, "lts", lts);
    table(to, "lte", lte);
    table(to, "uts", uts);
    table(to, "ute", ute);
  }

  void random_blocks(MaskCase& to, const char* name, int32_t q_block, int32_t per_row) {
    const int32_t rows = n_ / q_block;
    const int32_t columns = n_ / 64;
    std::vector<int8_t> blocks(static_cast<size_t>(rows * columns));
    for (int32_t r = 0; r < rows; ++r) {
      for (int32_t i = 0; i < per_row; ++i) {
        blocks[static_cast<size_t>(r * columns + uniform(columns))] = 1;
      }
    }
    to.tables.push_back({name, ElementType::kBool, {rows, columns}, {}, blocks, {}});
  }

  // Neighbourhoods of k tokens in each dimension of a grid of w x w.
  static std::string natten(const std::string& coordinates) {
    return coordinates +
           "abs(clamp(qx, k // 2, w - 1 - k // 2) - kx) <= k // 2 && "
           "abs(clamp(qy, k // 2, w - 1 - k // 2) - ky) <= k // 2";
  }

  static std::string morton_coordinates() {
    std::string text;
    for (const std::string axis : {"qx", "qy", "kx", "ky"}) {
      text += "let " + axis + "0 = (" + (axis[0] == 'q' ? "q" : "kv") + " >> " +
              (axis[1] == 'x' ? "0" : "1") + ") & 1431655765; ";
      const int64_t masks[] = {858993459, 252645135, 16711935, 65535};
      for (int i = 0; i < 4; ++i) {
        const std::string from = axis + std::to_string(i);
        text += "let " + (i == 3 ? axis : axis + std::to_string(i + 1)) + " = (" + from + " | " +
                from + " >> " + std::to_string(1 << i) + ") & " + std::to_string(masks[i]) + "; ";
      }
    }
    return text;
  }

  void grid_case(std::string name, std::string text) {
    int32_t w = 16;
    while (4 * w * w <= n_) w *= 2;
    MaskCase& made = add(std::move(name), std::move(text));
    made.q_len = made.kv_len = w * w;
    made.ints = {{"w", w}, {"k", w >= 64 ? 13 : 5}};
  }

  void grids() {
    grid_case("NATTEN-2D", natten("let qx = q % w; let qy = q // w; "
                                  "let kx = kv % w; let ky = kv // w; "));
    grid_case("NATTEN-2D tiled",
              natten("let tq = q // 64; let tk = kv // 64; let t = w // 8; "
                     "let qx = tq % t * 8 + q % 8; let qy = tq // t * 8 + q % 64 // 8; "
                     "let kx = tk % t * 8 + kv % 8; let ky = tk // t * 8 + kv % 64 // 8; "));
    grid_case("NATTEN-2D Morton", natten(morton_coordinates()));
    const std::string differences = "let dx = q % w - kv % w; let dy = q // w - kv // w; ";
    grid_case("NATTEN-2D dilated",
              differences + "dx % 2 == 0 && dy % 2 == 0 && abs(dx) <= k && abs(dy) <= k");
    grid_case("NATTEN-2D causal", differences + "dx >= 0 && dx < k && dy >= 0 && dy < k");
    grid_case("Swin with shift",
              "let a = (q % w + 3) // 8 + (q // w + 3) // 8 * w; "
              "let c = (kv % w + 3) // 8 + (kv // w + 3) // 8 * w; a == c");
    grid_case("axial", "q % w == kv % w || q // w == kv // w");
    grid_case("sliding tile 2D",
              "let t = w // 4; let tq = q // 16; let tk = kv // 16; "
              "abs(tq % t - tk % t) <= 1 && abs(tq // t - tk // t) <= 1");
  }

  void cube_case(std::string name, std::string text) {
    const int32_t w = n_ >= 4096 ? 16 : 8;
    MaskCase& made = add(std::move(name), std::move(text));
    made.ints = {{"w", w}, {"t", w / 4}};
    made.q_len = made.kv_len = std::min(n_, w * w * w);
  }

  void video() {
    cube_case("NATTEN-3D",
              "abs(clamp(q // (w * w), 2, w - 3) - kv // (w * w)) <= 2 && "
              "abs(clamp(q // w % w, 2, w - 3) - kv // w % w) <= 2 && "
              "abs(clamp(q % w, 2, w - 3) - kv % w) <= 2");
    cube_case("sliding tile 3D",
              "let a = q // 64; let c = kv // 64; let u = t * t; "
              "abs(clamp(a // u, 1, t - 2) - c // u) <= 1 && "
              "abs(clamp(a % u // t, 1, t - 2) - c % u // t) <= 1 && "
              "abs(clamp(a % t, 1, t - 2) - c % t) <= 1");
    // 13 frames after some words.
    const int32_t frame = n_ == 4096 ? 296 : n_ / 18 * 4 / 3;
    const int32_t words = n_ == 4096 ? 226 : n_ / 18;
    add("SVG spatial", "kv < p || q < p || abs(q - kv) < w").ints = {{"p", words}, {"w", n_ / 8}};
    add("SVG temporal", "kv < p || q < p || abs((q - p) % f - (kv - p) % f) < w").ints = {
        {"p", words}, {"f", frame}, {"w", n_ == 4096 ? 45 : frame / 6}};
    for (const size_t back : {size_t{1}, size_t{2}}) {
      MaskCase& made = cases_[cases_.size() - back];
      made.q_len = made.kv_len = std::min(n_, words + 13 * frame);
    }
    add("block diffusion",
        "let qn = q < n; let kn = kv < n; let a = q % n // c; let d = kv % n // c; "
        "a == d && (qn && kn || !qn && !kn) || a > d && qn && !kn || a >= d && !qn && !kn")
        .ints = {{"n", n_ / 2}, {"c", n_ / 64}};
    MaskCase& flamingo = add("Flamingo", "q >= lo[kv // f] && q < hi[kv // f]");
    flamingo.kv_len = n_ / 4;
    flamingo.ints = {{"f", n_ / 16}};
    table(flamingo, "lo", {0, n_ / 8, n_ / 4, n_ * 3 / 4});
    table(flamingo, "hi", {n_ / 6, n_ / 3, n_ * 3 / 4, n_});
  }

  static constexpr int32_t kTreeNodes = 96;

  MaskCase& tree_case(std::string name, std::string text) {
    MaskCase& made = add(std::move(name), std::move(text));
    made.q_len = kTreeNodes;
    made.q_begin = n_ - 96;
    made.kv_len = n_;
    made.ints = {{"p", made.q_begin}};
    return made;
  }

  void trees() {
    Ints parent{-1};
    for (int32_t i = 1; i < kTreeNodes; ++i) parent.push_back(uniform(i));
    Ints in(kTreeNodes), out(kTreeNodes);
    int32_t clock = 0;
    const auto visit = [&](const auto& self, int32_t node) -> void {
      in[static_cast<size_t>(node)] = clock++;
      for (int32_t i = node + 1; i < kTreeNodes; ++i) {
        if (parent[static_cast<size_t>(i)] == node) self(self, i);
      }
      out[static_cast<size_t>(node)] = clock;
    };
    visit(visit, 0);
    for (const std::string tail : {"", " && q - kv < 150"}) {
      MaskCase& euler = tree_case(tail.empty() ? "tree, Euler intervals" : "tree with a window",
                                  "(kv < p || tin[kv - p] <= tin[q - p] && "
                                  "tin[q - p] < tout[kv - p])" +
                                      tail);
      table(euler, "tin", in);
      table(euler, "tout", out);
    }
    MaskCase& matrix =
        tree_case("tree, ancestor matrix", "bool anc[,]; kv < p || anc[q - p, kv - p]");
    std::vector<int8_t> ancestor(static_cast<size_t>(kTreeNodes * kTreeNodes));
    for (int32_t i = 0; i < kTreeNodes; ++i) {
      for (int32_t j = i; j >= 0; j = parent[static_cast<size_t>(j)]) {
        ancestor[static_cast<size_t>(i * kTreeNodes + j)] = 1;
      }
    }
    matrix.tables.push_back(
        {"anc", ElementType::kBool, {kTreeNodes, kTreeNodes}, {}, ancestor, {}});
  }

  Ints clusters(int32_t smallest, int32_t largest) {
    Ints out;
    for (int32_t id = 0; std::ssize(out) < n_; ++id) {
      const int32_t hits = smallest + uniform(largest - smallest);
      for (int32_t i = 0; i < hits && std::ssize(out) < n_; ++i) out.push_back(id);
    }
    return out;
  }

  void angles(MaskCase& to, const char* name, bool sorted) {
    std::uniform_real_distribution<float> angle(-std::numbers::pi_v<float>,
                                                std::numbers::pi_v<float>);
    std::vector<float> out(static_cast<size_t>(n_));
    for (float& x : out) x = angle(random_);
    if (sorted) std::ranges::sort(out);
    to.tables.push_back({name, ElementType::kF32, {n_}, {}, {}, out});
  }

  void tracks() {
    table(add("clusters", "c[q] == c[kv]"), "c", clusters(5, 50));
    MaskCase& both = add("union of clusterings", "c[q] == c[kv] || d[q] == d[kv]");
    table(both, "c", clusters(5, 50));
    table(both, "d", clusters(5, 50));
    angles(add("phi window, wrap-around",
               "f32 phi[]; let d = abs(phi[q] - phi[kv]); d < 0.1 || 6.183185 < d"),
           "phi", true);
    MaskCase& box = add("eta-phi box",
                        "f32 phi[]; f32 eta[]; abs(phi[q] - phi[kv]) < 0.2 && "
                        "abs(eta[q] - eta[kv]) < 0.3");
    angles(box, "phi", true);
    angles(box, "eta", false);
  }

  int32_t n_;
  std::mt19937 random_{1};
  Ints starts_;
  Ints doc_;
  std::vector<MaskCase> cases_;
};

}  // namespace

std::vector<MaskCase> mask_catalogue(int32_t tokens) { return Catalogue(tokens).build(); }

}  // namespace attnrt::testing
