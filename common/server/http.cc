#include "common/server/http.h"

#include <CivetServer.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <iterator>
#include <string_view>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/server/address.h"

namespace sluice::server {

class HttpServer::Handler : public CivetHandler {
 public:
  Handler(std::vector<std::shared_ptr<prometheus::Collectable>> metrics, Check live, Check ready)
      : metrics_(std::move(metrics)), live_(std::move(live)), ready_(std::move(ready)) {}

  bool handleGet(CivetServer*, mg_connection* connection) override {
    const std::string_view path = mg_get_request_info(connection)->local_uri;
    if (path == "/metrics") {
      Answer(connection, 200, "text/plain; version=0.0.4; charset=utf-8", Metrics());
    } else if (path == "/livez") {
      AnswerCheck(connection, live_());
    } else if (path == "/readyz") {
      AnswerCheck(connection, ready_());
    } else {
      Answer(connection, 404, kText, "not found; there are /metrics, /livez and /readyz\n");
    }
    return true;
  }

 private:
  static constexpr char kText[] = "text/plain; charset=utf-8";

  std::string Metrics() const {
    std::vector<prometheus::MetricFamily> families;
    for (const auto& source : metrics_) {
      std::vector<prometheus::MetricFamily> some = source->Collect();
      families.insert(families.end(), std::make_move_iterator(some.begin()),
                      std::make_move_iterator(some.end()));
    }
    return prometheus::TextSerializer().Serialize(families);
  }

  static void AnswerCheck(mg_connection* connection, const absl::Status& status) {
    if (status.ok()) {
      Answer(connection, 200, kText, "ok\n");
    } else {
      Answer(connection, 503, kText, absl::StrCat(status.message(), "\n"));
    }
  }

  static void Answer(mg_connection* connection, int status, std::string_view type,
                     const std::string& body) {
    mg_printf(connection,
              "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: "
              "no-store\r\nConnection: close\r\n\r\n",
              status, mg_get_response_code_text(connection, status), type.data(), body.size());
    mg_write(connection, body.data(), body.size());
  }

  const std::vector<std::shared_ptr<prometheus::Collectable>> metrics_;
  const Check live_;
  const Check ready_;
};

HttpServer::HttpServer() = default;

HttpServer::~HttpServer() {
  if (server_ == nullptr) return;
  // civetweb 1.15 looks whether it is to stop only every 2 s, or when somebody connects.
  const std::jthread waker([parsed = *ParseAddress(address_)](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      char error[100];
      mg_connection* connection =
          mg_connect_client(parsed.host.c_str(), parsed.port, 0, error, sizeof(error));
      if (connection != nullptr) mg_close_connection(connection);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  server_.reset();
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(
    const std::string& address, std::vector<std::shared_ptr<prometheus::Collectable>> metrics,
    Check live, Check ready) {
  SLUICE_ASSIGN_OR_RETURN(Address parsed, ParseAddress(address));
  std::unique_ptr<HttpServer> http(new HttpServer);
  http->handler_ = std::make_unique<Handler>(std::move(metrics), std::move(live), std::move(ready));
  try {
    http->server_ = std::make_unique<CivetServer>(
        std::vector<std::string>{"listening_ports", parsed.ToString(), "num_threads", "4",
                                 "request_timeout_ms", "10000", "enable_auth_domain_check", "no"});
  } catch (const CivetException&) {
    return CannotListen(parsed);
  }
  http->server_->addHandler("/", *http->handler_);
  parsed.port = static_cast<uint16_t>(http->server_->getListeningPorts().at(0));
  http->address_ = parsed.ToString();
  return http;
}

}  // namespace sluice::server
