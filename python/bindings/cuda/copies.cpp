#include "copies.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "view.h"

namespace lstmcore {
namespace python {
namespace {

using Offsets = std::vector<std::int64_t>;

// An array as rows of its last axis, evenly spaced.
struct Rows {
  char* data;
  std::int64_t count, width;
  std::size_t pitch;  // bytes from row to row
};

Rows rows_of(const DeviceView& view) {
  if (std::find(view.shape.begin(), view.shape.end(), 0) != view.shape.end())
    return {nullptr, 0, view.shape.back(), 0};
  const std::size_t size = std::size_t(dtype_size(view.dtype));
  std::int64_t count = 1, pitch = view.shape.back();
  for (std::size_t k = view.shape.size() - 1; k-- > 0;) {
    if (view.shape[k] < 2) {
      count *= view.shape[k];
      continue;
    }
    if (count == 1)
      pitch = view.strides[k];
    else if (view.strides[k] != count * pitch)
      throw py::value_error(view.name + ": expected a contiguous array");
    count *= view.shape[k];
  }
  return {static_cast<char*>(view.data), count, view.shape.back(), std::size_t(pitch) * size};
}

// to[..., column : column + width] = from
void copy_columns(const py::object& to, std::int64_t column, const py::object& from,
                  const std::shared_ptr<CudaLibrary>& library, int device, std::uintptr_t stream,
                  const std::string& to_name, const std::string& from_name) {
  const Workplace at{library, device, stream};
  const std::vector<DeviceView> views{view_of(to, to_name, at), view_of(from, from_name, at)};
  const DeviceView &target = views[0], &source = views[1];
  if (source.shape.empty()) throw py::value_error(from_name + ": expected an axis at least");
  source.check(source.dtype, {source.rank()});
  target.check(source.dtype, {source.rank()});
  target.check_output();
  const Rows into = rows_of(target), values = rows_of(source);
  if (!std::equal(source.shape.begin(), source.shape.end() - 1, target.shape.begin()) ||
      column + values.width > into.width)
    throw py::value_error(to_name + ": expected room for shape " + source.shape_text() + ", got shape " +
                          target.shape_text());
  const std::size_t size = std::size_t(dtype_size(source.dtype));
  enqueue(at, views, library->api().copy_rows, device,
          static_cast<void*>(into.data + std::size_t(column) * size), into.pitch,
          static_cast<const void*>(values.data), values.pitch, std::size_t(values.width) * size,
          std::size_t(values.count), as_stream(stream));
  finish_output(to, at);
}

// to[..., to_column:] = a[..., a_column:] + b, over `width` columns; without b, a converted. Arrays [N, any],
// or [N, T, any] (T and N the other way round where time_major), of which only the steps within the lengths.
void add(const py::object& to, std::int64_t to_column, const py::object& a, std::int64_t a_column,
         const py::object& b, std::int64_t width, const std::optional<Offsets>& lengths, bool time_major,
         const std::shared_ptr<CudaLibrary>& library, int device, std::uintptr_t stream,
         const py::tuple& names) {
  const Workplace at{library, device, stream};
  const auto name = [&](std::size_t k) { return names[k].cast<std::string>(); };
  std::vector<DeviceView> views{view_of(to, name(0), at), view_of(a, name(1), at)};
  if (!b.is_none()) views.push_back(view_of(b, name(2), at));
  const DeviceView &target = views[0], &source = views[1];
  const bool sequence = target.rank() == 3;
  const auto take = [&](const DeviceView& view, int dtype, std::int64_t column) {
    view.check(dtype, {sequence ? 3 : 2});
    if (!std::equal(view.shape.begin(), view.shape.end() - 1, target.shape.begin()) ||
        view.shape.back() < column + width)
      throw py::value_error(view.name + ": expected " + std::to_string(column + width) +
                            " columns, and other axes as in shape " + target.shape_text() + ", got shape " +
                            view.shape_text());
    return sequence_of(view, time_major, column);
  };
  const auto wide = [](int dtype) { return dtype == LSTMCORE_CUDA_FLOAT64; };
  if (source.dtype >= kInt32 || wide(source.dtype) != wide(target.dtype))
    throw py::type_error(source.name + ": expected " + dtype_name(target.dtype) + ", got " +
                         dtype_name(source.dtype));
  lstmcore_cuda_sum sum{};
  sum.to = take(target, target.dtype, to_column);
  target.check_output();
  sum.a = take(source, source.dtype, a_column);
  if (views.size() > 2) sum.b = take(views[2], target.dtype, 0);
  sum.to_dtype = target.dtype;
  sum.a_dtype = source.dtype;
  sum.steps = sequence ? target.shape[time_major ? 0 : 1] : 1;
  sum.batch = target.shape[sequence && time_major ? 1 : 0];
  sum.width = width;
  if (lengths && std::int64_t(lengths->size()) != sum.batch)
    throw py::value_error("lengths: expected " + std::to_string(sum.batch) + " of them, got " +
                          std::to_string(lengths->size()));
  sum.lengths = lengths ? lengths->data() : nullptr;
  enqueue(at, views, library->api().add, device, static_cast<const lstmcore_cuda_sum*>(&sum),
          as_stream(stream));
  finish_output(to, at);
}

// Integers of one axis, on the host. Waits for them.
py::array_t<std::int64_t> read_integers(const py::object& array, const std::shared_ptr<CudaLibrary>& library,
                                        int device, std::uintptr_t stream, const std::string& name) {
  const DeviceView view = view_of(array, name, {library, device, stream});
  if (view.dtype != kInt32 && view.dtype != kInt64)
    throw py::value_error(name + ": expected integers, got " + dtype_name(view.dtype));
  view.check(view.dtype, {1});
  const auto copy = [&](auto host) {
    if (host.size())
      library->call(library->api().copy, device, static_cast<void*>(host.mutable_data()),
                    static_cast<const void*>(view.data), std::size_t(host.nbytes()), as_stream(stream));
    return host;
  };
  if (view.dtype == kInt64) return copy(py::array_t<std::int64_t>(view.shape[0]));
  return py::array_t<std::int64_t>(copy(py::array_t<std::int32_t>(view.shape[0])));
}

// In the words of the CPU's calls.
void check_offsets(const Offsets& offsets, std::int64_t total) {
  if (offsets.empty()) throw py::value_error("offsets: expected one more entry than rows, got none");
  if (offsets.front() != 0 || offsets.back() != total)
    throw py::value_error("offsets: expected to begin with 0 and end with " + std::to_string(total) +
                          ", got " + std::to_string(offsets.front()) + " and " +
                          std::to_string(offsets.back()));
  for (std::size_t n = 1; n < offsets.size(); ++n)
    if (offsets[n] < offsets[n - 1])
      throw py::value_error("offsets must not decrease, got " + std::to_string(offsets[n]) + " after " +
                            std::to_string(offsets[n - 1]));
}

std::int64_t longest(const Offsets& offsets) {
  std::int64_t steps = 0;
  for (std::size_t n = 1; n < offsets.size(); ++n) steps = std::max(steps, offsets[n] - offsets[n - 1]);
  return steps;
}

// [total, width] as [N, T, width], T that of the longest row, zeros behind the others.
std::shared_ptr<DeviceArray> pad(const py::object& packed, const Offsets& offsets,
                                 const std::shared_ptr<CudaLibrary>& library, int device,
                                 std::uintptr_t stream, const std::string& name) {
  const Workplace at{library, device, stream};
  const std::vector<DeviceView> views{view_of(packed, name, at)};
  const DeviceView& view = views[0];
  view.check(view.dtype, {2});
  const std::int64_t total = view.shape[0], width = view.shape[1];
  if (total > 1 && view.strides[0] != width) throw py::value_error(name + ": expected a contiguous array");
  check_offsets(offsets, total);
  const std::int64_t rows = std::int64_t(offsets.size()) - 1, steps = longest(offsets);
  auto padded =
      std::make_shared<DeviceArray>(library, device, Offsets{rows, steps, width}, view.dtype, stream);
  enqueue(at, views, library->api().pad, device, padded->data(), static_cast<const void*>(view.data),
          offsets.data(), rows, steps, std::size_t(width * dtype_size(view.dtype)), as_stream(stream));
  return padded;
}

// The way back, into `packed`, whose offsets are those of `pad`.
void unpad(const DeviceArray& padded, const Offsets& offsets, const py::object& packed,
           const std::shared_ptr<CudaLibrary>& library, std::uintptr_t stream, const std::string& name) {
  const Workplace at{library, padded.device(), stream};
  const std::vector<DeviceView> views{view_of(packed, name, at)};
  const DeviceView& view = views[0];
  view.check(padded.dtype(), {2});
  view.check_output();
  const std::int64_t width = padded.shape()[2];
  if (view.shape[0] != offsets.back() || view.shape[1] != width)
    throw py::value_error(name + ": expected shape (" + std::to_string(offsets.back()) + ", " +
                          std::to_string(width) + "), got " + view.shape_text());
  if (view.shape[0] > 1 && view.strides[0] != width)
    throw py::value_error(name + ": expected a contiguous array");
  enqueue(at, views, library->api().unpad, at.device, static_cast<const void*>(padded.data()), view.data,
          offsets.data(), padded.shape()[0], padded.shape()[1], std::size_t(width * dtype_size(view.dtype)),
          as_stream(stream));
  finish_output(packed, at);
}

// Of a call of several layers and directions: what one of them writes, another may have yet to read.
void check_apart(const py::object& out, const std::vector<py::object>& others,
                 const std::vector<std::string>& names, const CudaLibraryPtr& library, int device,
                 std::uintptr_t stream) {
  const Workplace at{library, device, stream};
  const DeviceView written = view_of(out, "out", at);
  for (std::size_t k = 0; k < others.size(); ++k)
    if (written.overlaps(view_of(others[k], names[k], at)))
      throw py::value_error("out and " + names[k] + " may not share memory");
}

}  // namespace

void register_copies(py::module_& module) {
  module.def(
      "cuda_dtype",
      [](const py::object& array, const std::shared_ptr<CudaLibrary>& library, int device,
         std::uintptr_t stream,
         const std::string& name) { return view_of(array, name, {library, device, stream}).dtype; },
      py::arg("array"), py::arg("library"), py::arg("device"), py::arg("stream"), py::arg("name"));
  module.def("cuda_copy_columns", &copy_columns, py::arg("to"), py::arg("column"), py::arg("source"),
             py::arg("library"), py::arg("device"), py::arg("stream"), py::arg("to_name") = "out",
             py::arg("source_name") = "array");
  module.def("cuda_add", &add, py::arg("to"), py::arg("to_column"), py::arg("a"), py::arg("a_column"),
             py::arg("b"), py::arg("width"), py::arg("lengths"), py::arg("time_major"), py::arg("library"),
             py::arg("device"), py::arg("stream"), py::arg("names"));
  module.def("cuda_check_apart", &check_apart, py::arg("out"), py::arg("others"), py::arg("names"),
             py::arg("library"), py::arg("device"), py::arg("stream"));
  module.def("cuda_read_integers", &read_integers, py::arg("array"), py::arg("library"), py::arg("device"),
             py::arg("stream"), py::arg("name"));
  module.def("cuda_pad", &pad, py::arg("packed"), py::arg("offsets"), py::arg("library"), py::arg("device"),
             py::arg("stream"), py::arg("name"));
  module.def("cuda_unpad", &unpad, py::arg("padded"), py::arg("offsets"), py::arg("packed"),
             py::arg("library"), py::arg("stream"), py::arg("name"));
}

}  // namespace python
}  // namespace lstmcore
