// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/kernel_cache.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <system_error>

namespace attnrt::cuda {
namespace {

namespace fs = std::filesystem;

// FNV-1a. Names and finds accidents; what is believed is compared byte for byte, so that nothing
// stronger, and no library for it, is needed. About 1 ns a byte, of some 100 KB a kernel.
__extension__ using Hash = unsigned __int128;

Hash hash_of(std::string_view bytes) {
  constexpr Hash kPrime = (Hash{1} << 88) + 0x13b;
  Hash hash = (Hash{0x6c62272e07bb0142} << 64) + 0x62b821756295c58d;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * kPrime;
  return hash;
}

// A file: this, the compiler's version, the text, the image. The magic's number is the format's.
struct Head {
  char magic[16] = "attnrt kernel 1";
  uint64_t compiler_bytes = 0;
  uint64_t text_bytes = 0;
  uint64_t image_bytes = 0;
  uint64_t body_hash[2] = {};  // of all that follows
};
static_assert(sizeof(Head) == 56);

Head head_of(std::string_view body, uint64_t compiler_bytes, uint64_t text_bytes) {
  const Hash hash = hash_of(body);
  Head head;
  head.compiler_bytes = compiler_bytes;
  head.text_bytes = text_bytes;
  head.image_bytes = body.size() - compiler_bytes - text_bytes;
  head.body_hash[0] = static_cast<uint64_t>(hash);
  head.body_hash[1] = static_cast<uint64_t>(hash >> 64);
  return head;
}

// Empty where there is no such file.
std::string content_of(const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return {};  // nothing that reading would wait for
  std::ifstream file(path, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(file), {}};
  return file.bad() ? std::string() : content;
}

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

void make_directory(fs::path path) {
  if (!path.has_filename()) path = path.parent_path();  // "folder/"
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  mkdir(path.c_str(), 0700);
}

}  // namespace

KernelCache KernelCache::from_environment() {
  const char* directory = std::getenv("ATTNRT_KERNEL_CACHE");
  return KernelCache(directory != nullptr ? directory : "");
}

std::string KernelCache::path_of(const KernelInputs& inputs) const {
  const Hash hash = hash_of(inputs.text);
  char name[33];
  std::snprintf(name, sizeof name, "%016llx%016llx", static_cast<unsigned long long>(hash >> 64),
                static_cast<unsigned long long>(hash));
  return directory_ + "/" + name;
}

bool KernelCache::load(const KernelInputs& inputs, std::string& image) const {
  if (!enabled()) return false;
  const std::string content = content_of(path_of(inputs));
  Head head;
  if (content.size() < sizeof head) return false;
  std::memcpy(&head, content.data(), sizeof head);
  const std::string_view body = std::string_view(content).substr(sizeof head);
  if (head.compiler_bytes > body.size() || head.text_bytes != inputs.text.size()) return false;
  const Head expected = head_of(body, head.compiler_bytes, head.text_bytes);
  if (std::memcmp(&head, &expected, sizeof head) != 0) return false;
  const std::string_view compiler = body.substr(0, head.compiler_bytes);
  if (!inputs.compiler.empty() && compiler != inputs.compiler) return false;
  if (body.substr(head.compiler_bytes, head.text_bytes) != inputs.text) return false;
  image = body.substr(head.compiler_bytes + head.text_bytes);
  return true;
}

void KernelCache::store(const KernelInputs& inputs, const std::string& image) const {
  if (!enabled()) return;
  const std::string body = inputs.compiler + inputs.text + image;
  const Head head = head_of(body, inputs.compiler.size(), inputs.text.size());
  make_directory(directory_);
  const std::string path = path_of(inputs);
  std::string temporary = path + ".XXXXXX";
  const int file = mkostemp(temporary.data(), O_CLOEXEC);  // 0600
  if (file < 0) return;
  const bool written =
      write_all(file, {reinterpret_cast<const char*>(&head), sizeof head}) && write_all(file, body);
  const bool closed = close(file) == 0;
  if (!written || !closed || std::rename(temporary.c_str(), path.c_str()) != 0) {
    unlink(temporary.c_str());
  }
}

}  // namespace attnrt::cuda
