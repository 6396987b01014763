# Writes files as C++ string literals: cmake -DOUT=<file> -DROOT=<dir> "-DFILES=a;b" -P embed.cmake
# A file is named by its path below ROOT; what stands for a standard header, by its own name.
set(text "// Written by scripts/cmake/embed.cmake.\n#include \"backends/cuda/kernel_text.hpp\"\n\n")
string(APPEND text "namespace attnrt::cuda {\nnamespace {\n\nconstexpr KernelHeader kHeaders[] = {\n")
foreach(file IN LISTS FILES)
  file(READ ${ROOT}/${file} content)
  string(REPLACE "backends/cuda/device/nvrtc/" "" name ${file})
  string(APPEND text "    {\"${name}\",\n     R\"__(${content})__\"},\n")
endforeach()
string(APPEND text "};\n\n}  // namespace\n\n")
string(APPEND text "std::span<const KernelHeader> kernel_headers() noexcept { return kHeaders; }\n\n")
string(APPEND text "}  // namespace attnrt::cuda\n")
file(WRITE ${OUT} "${text}")
