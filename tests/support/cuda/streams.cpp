// SPDX-License-Identifier: Apache-2.0
// Streams, events and graphs of the emulated device.
#include <algorithm>
#include <utility>

#include "tests/support/cuda/device_state.hpp"

struct EmulatedEvent {
  int64_t recorded = 0;  // times
  int64_t reached = 0;
};

namespace attnrt::test {
namespace {

// As many operations as may wait without a queue that grows.
constexpr size_t kQueue = 512;

EmulatedStream* made_stream() {
  auto* stream = new EmulatedStream;
  stream->queue.reserve(kQueue);
  DeviceState::get().streams.push_back(stream);
  return stream;
}

EmulatedStream& stream_of(cudaStream_t stream) {
  static EmulatedStream* const default_stream = made_stream();
  return stream == nullptr ? *default_stream : *stream;
}

// Does the next thing that waits on a stream.
cudaError_t step(EmulatedStream& stream) {
  DeviceState& device = DeviceState::get();
  const Operation operation = stream.queue[stream.done++];
  if (stream.done == stream.queue.size()) {
    stream.queue.clear();
    stream.done = 0;
  }
  const DeviceAtWork at_work;
  device.failure = operation.run();
  return device.failure.empty() ? cudaSuccess : device.note(cudaErrorLaunchFailure);
}

bool has_work(const EmulatedStream& stream) { return stream.done < stream.queue.size(); }

}  // namespace

cudaError_t DeviceState::finish() {
  cudaError_t error = cudaSuccess;
  for (EmulatedStream* stream : streams) {
    while (error == cudaSuccess && has_work(*stream)) error = step(*stream);
  }
  return error;
}

cudaError_t enqueue(cudaStream_t to, const Operation& operation) {
  EmulatedStream& stream = stream_of(to);
  if (stream.captured != nullptr) {
    if (stream.spoilt) return cudaErrorStreamCaptureInvalidated;
    stream.captured->operations.push_back(operation);
    return cudaSuccess;
  }
  stream.queue.push_back(operation);
  return cudaSuccess;
}

}  // namespace attnrt::test

using attnrt::test::DeviceState;
using attnrt::test::Operation;
using attnrt::test::stream_of;

cudaError_t cudaDeviceSynchronize() {
  DeviceState& device = DeviceState::get();
  return device.call([&] {
    if (device.spoils_capture()) return cudaErrorStreamCaptureUnsupported;
    ++device.counts.waits;
    return device.finish();
  });
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return DeviceState::get().call([&] {
    *stream = attnrt::test::made_stream();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  DeviceState& device = DeviceState::get();
  const cudaError_t error = device.call([&] { return device.finish(); });
  std::erase(device.streams, stream);
  delete stream;
  return error;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return DeviceState::get().call([&] {
    const EmulatedStream& asked = stream_of(stream);
    *status = asked.captured == nullptr ? cudaStreamCaptureStatusNone
              : asked.spoilt            ? cudaStreamCaptureStatusInvalidated
                                        : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  return DeviceState::get().call([&] {
    if (stream == nullptr || stream->captured != nullptr) return cudaErrorStreamCaptureUnsupported;
    stream->captured = new EmulatedGraph;
    stream->spoilt = false;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return DeviceState::get().call([&] {
    if (stream == nullptr || stream->captured == nullptr) return cudaErrorInvalidValue;
    *graph = std::exchange(stream->captured, nullptr);
    if (!stream->spoilt) return cudaSuccess;
    delete std::exchange(*graph, nullptr);
    return cudaErrorStreamCaptureInvalidated;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
  return DeviceState::get().call([&] {
    if (graph == nullptr) return cudaErrorInvalidValue;
    *made = new EmulatedGraph(*graph);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  return DeviceState::get().call([&] {
    if (graph == nullptr) return cudaErrorInvalidValue;
    cudaError_t error = cudaSuccess;
    for (const Operation& operation : graph->operations) {
      if (error == cudaSuccess) error = attnrt::test::enqueue(stream, operation);
    }
    return error;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return DeviceState::get().call([&] {
    *event = new EmulatedEvent;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return DeviceState::get().call([&] {
    const int64_t number = ++event->recorded;
    return attnrt::test::enqueue(stream, Operation([=]() -> std::string {
                                   event->reached = number;
                                   return {};
                                 }));
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  DeviceState& device = DeviceState::get();
  return device.call([&] {
    if (device.spoils_capture()) return cudaErrorStreamCaptureUnsupported;
    if (event->reached == event->recorded) return cudaSuccess;
    ++device.counts.waits;
    cudaError_t error = cudaSuccess;
    for (EmulatedStream* stream : device.streams) {
      while (error == cudaSuccess && event->reached != event->recorded &&
             attnrt::test::has_work(*stream)) {
        error = attnrt::test::step(*stream);
      }
    }
    return error;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
