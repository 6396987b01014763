# Sets ATTNRT_ONEDNN_FOUND, and where it is. oneDNN's own CMake package is not asked: Debian's wants
# the headers of OpenCL, which its libdnnl-dev does not bring, and ends the configuration without.
set(ATTNRT_ONEDNN_FOUND FALSE)
if(NOT ATTNRT_ONEDNN)
  return()
endif()

set(missing)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  find_path(ATTNRT_ONEDNN_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
  find_library(ATTNRT_ONEDNN_LIBRARY dnnl)
  mark_as_advanced(ATTNRT_ONEDNN_INCLUDE_DIR ATTNRT_ONEDNN_LIBRARY)
  if(ATTNRT_ONEDNN_INCLUDE_DIR AND ATTNRT_ONEDNN_LIBRARY)
    # Version 3 has another interface.
    file(STRINGS ${ATTNRT_ONEDNN_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h ATTNRT_ONEDNN_VERSION
         REGEX "define DNNL_VERSION_(MAJOR 2|MINOR ([6-9]|[1-9][0-9]+))$")
    list(LENGTH ATTNRT_ONEDNN_VERSION ATTNRT_ONEDNN_MATCHES)
    # One call runs on one thread: how to see to that is known of OpenMP, which Debian builds with.
    file(STRINGS ${ATTNRT_ONEDNN_INCLUDE_DIR}/oneapi/dnnl/dnnl_config.h ATTNRT_ONEDNN_RUNTIME
         REGEX "define DNNL_CPU_THREADING_RUNTIME DNNL_RUNTIME_OMP")
    find_package(OpenMP QUIET COMPONENTS CXX)
    if(NOT ATTNRT_ONEDNN_MATCHES EQUAL 2)
      set(missing "oneDNN 2, from 2.6 on")
    elseif(NOT ATTNRT_ONEDNN_RUNTIME)
      set(missing "a oneDNN that was built for OpenMP")
    elseif(NOT OpenMP_CXX_FOUND)
      set(missing "OpenMP")
    endif()
  else()
    set(missing "oneDNN (Debian: libdnnl-dev)")
  endif()
else()
  set(missing "an x86-64 CPU")
endif()

if(NOT missing)
  set(ATTNRT_ONEDNN_FOUND TRUE)
elseif(ATTNRT_ONEDNN STREQUAL AUTO)
  message(STATUS "attnrt: no ISA \"onednn\", it needs ${missing}")
else()
  message(FATAL_ERROR "ATTNRT_ONEDNN is ${ATTNRT_ONEDNN}, but ISA \"onednn\" needs ${missing}")
endif()
