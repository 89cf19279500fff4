// What the frontend's calls stand on: stubs of the log, the views, threads for reads, and what
// bounds them all. Thread-safe; the calls must have ended before it is destroyed.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server_context.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "common/base/executor.h"
#include "common/embed/embedder.h"
#include "common/objects/object_store.h"
#include "services/frontend/byte_budget.h"
#include "services/frontend/gate.h"
#include "services/frontend/metrics.h"
#include "services/frontend/segment_loader.h"
#include "services/frontend/view_cache.h"
#include "sluice/v1/catalog.grpc.pb.h"
#include "sluice/v1/log.grpc.pb.h"

namespace sluice::frontend {

struct BackendOptions {
  uint64_t read_threads;
  uint64_t max_pending_reads;
  uint64_t max_pending_write_bytes;
  uint64_t max_view_bytes;
  // Of a call whose caller set no nearer deadline.
  std::chrono::milliseconds timeout;
};

struct Backend {
  static constexpr size_t kRowReaders = 15;

  Backend(const std::shared_ptr<grpc::Channel>& log, const ObjectStore& objects,
          embed::Embedders query_embedders, const BackendOptions& backend_options,
          Metrics& frontend_metrics)
      : options(backend_options),
        metrics(frontend_metrics),
        catalog(v1::CatalogService::NewStub(log)),
        pushes(log),
        bytes_through(log),
        write_bytes(options.max_pending_write_bytes),
        segments(objects, metrics),
        executor(options.read_threads),
        views(log, segments,
              {.max_bytes = options.max_view_bytes, .shared_timeout = options.timeout}, executor,
              metrics),
        embedders(std::move(query_embedders)) {}
  // The views and the executor wait for segments that are being opened.
  ~Backend() { segments.Stop(); }

  // For a call made on behalf of `caller`: ends when that ends, and carries on its trace.
  std::unique_ptr<grpc::ClientContext> ContextFor(const grpc::CallbackServerContext& caller) const;
  // When a call of this caller ends.
  std::chrono::system_clock::time_point DeadlineOf(const grpc::CallbackServerContext& caller) const;

  const BackendOptions options;
  Metrics& metrics;
  // All calls go through it.
  Gate gate;
  const std::unique_ptr<v1::CatalogService::Stub> catalog;
  // PushLogs, with requests in wire form.
  grpc::TemplatedGenericStub<grpc::ByteBuffer, v1::PushLogsResponse> pushes;
  // Any unary call, request and response in wire form.
  grpc::GenericStub bytes_through;
  ByteBudget write_bytes;
  std::atomic<uint64_t> pending_reads = 0;
  SegmentLoader segments;
  // Lent to Gets whose rows are remote: they wait for the store, and have nothing else to do.
  Executor row_readers{kRowReaders};
  // After what its tasks need.
  Executor executor;
  ViewCache views;
  // Of the texts of queries.
  const embed::Embedders embedders;
};

}  // namespace sluice::frontend
