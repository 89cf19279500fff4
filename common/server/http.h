// The HTTP port of a process: GET /metrics (Prometheus text format), /livez and /readyz (200, or
// 503 with what is wrong, as text); all else is 404. Answers from threads of its own until it is
// destroyed.
#pragma once

#include <prometheus/collectable.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

class CivetServer;

namespace sluice::server {

class HttpServer {
 public:
  // Called from several threads at once.
  using Check = std::function<absl::Status()>;

  // `address` is HOST:PORT; with port 0 the kernel picks one.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(
      const std::string& address, std::vector<std::shared_ptr<prometheus::Collectable>> metrics,
      Check live, Check ready);
  ~HttpServer();

  // With the port in use.
  const std::string& address() const { return address_; }

 private:
  class Handler;
  HttpServer();

  std::string address_;
  std::unique_ptr<Handler> handler_;
  std::unique_ptr<CivetServer> server_;
};

}  // namespace sluice::server
