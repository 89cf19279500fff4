#include "services/frontend/settings.h"

#include <utility>

namespace sluice::frontend {

void FrontendSettings::Declare(server::Settings& settings, std::string default_log_address) {
  settings.Add("frontend.log_address", &log_address, std::move(default_log_address),
               "Address of the log service, as gRPC takes it (HOST:PORT or a URI); empty only "
               "where the log runs in the same process");
  settings.Add("frontend.objects", &objects, "sluice-data/objects",
               "Where the compactors store segments: a folder, or s3://BUCKET/PREFIX");
  settings.Add("frontend.timeout_ms", &timeout_ms, 60'000, 100, 3'600'000,
               "Longest that a call may take, if its caller set no nearer deadline");
  settings.Add("frontend.read.threads", &read_threads, 0, 0, 1'024,
               "Threads that open segments and answer reads; 0 means one per CPU, at least 2");
  settings.Add("frontend.read.max_pending", &max_pending_reads, 1'024, 1, 1'000'000,
               "Reads at once, beyond which further ones are refused as OVERLOADED");
  settings.Add("frontend.write.max_pending_bytes", &max_pending_write_bytes, 256 << 20, 32 << 20,
               uint64_t{1} << 40,
               "Bytes of write requests at once, beyond which further ones are refused as "
               "OVERLOADED");
  settings.Add("frontend.view.max_bytes", &max_view_bytes, 256 << 20, 1 << 20, uint64_t{1} << 40,
               "Memory for the tails and id indexes of collections in use, and the longest tail "
               "that can be read over; as much again may be arriving from the log");
  settings.AddNamed("frontend.embedders", &embedders,
                    "An embedding model that is served elsewhere, for the texts of queries; NAME "
                    "is what collections give as their embedder's kind");
}

}  // namespace sluice::frontend
