#include "lstmcore/stream_bank.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace lstmcore {

template <class T>
StreamBank<T>::StreamBank(Layers<T> layers, std::int64_t capacity) : batch_(std::move(layers), 0) {
  if (capacity < 0)
    throw std::invalid_argument("capacity must not be negative, got " + std::to_string(capacity));
  reserve(capacity);
}

// Takes all memory that the steps of this many streams need.
template <class T>
void StreamBank<T>::reserve(std::int64_t streams) {
  if (streams <= slots_) return;
  batch_.set_rows(streams);  // refuses what is too large
  const auto size = static_cast<std::size_t>(streams);
  members_.reserve(size);
  free_.reserve(size);
  chosen_.resize(size);
  last_chosen_.resize(size);
  states_.resize(static_cast<std::size_t>(streams * state_size() + 1));
  for (std::int64_t index = streams - 1; index >= slots_; --index) free_.push_back(index);
  slots_ = streams;
}

template <class T>
std::int64_t StreamBank<T>::join(const T* state) {
  if (free_.empty()) reserve(std::max<std::int64_t>(4, 2 * slots_));
  const std::int64_t index = free_.back();
  free_.pop_back();
  members_.push_back({next_id_, index});
  if (state)
    std::copy_n(state, state_size(), slot(index));
  else
    std::fill_n(slot(index), state_size(), T(0));
  return next_id_++;
}

template <class T>
typename std::vector<typename StreamBank<T>::Member>::const_iterator StreamBank<T>::find(
    std::int64_t id) const {
  const auto found = std::lower_bound(members_.begin(), members_.end(), id,
                                      [](const Member& member, std::int64_t key) { return member.id < key; });
  if (found == members_.end() || found->id != id)
    throw std::out_of_range("no stream " + std::to_string(id) + " in the bank");
  return found;
}

template <class T>
void StreamBank<T>::leave(std::int64_t id) {
  const auto found = find(id);
  free_.push_back(found->slot);
  members_.erase(found);
}

template <class T>
const T* StreamBank<T>::state(std::int64_t id) const {
  return slot(find(id)->slot);
}

template <class T>
void StreamBank<T>::set_state(std::int64_t id, const T* state) {
  std::copy_n(state, state_size(), slot(find(id)->slot));
}

template <class T>
void StreamBank<T>::step(std::int64_t n, const std::int64_t* ids, const T* x, T* out,
                         Interruption* interruption) {
  ++choices_;
  for (std::int64_t k = 0; k < n; ++k) {
    const std::int64_t index = find(ids[k])->slot;
    std::uint64_t& last = last_chosen_[static_cast<std::size_t>(index)];
    if (last == choices_)
      throw std::invalid_argument("ids: stream " + std::to_string(ids[k]) + " comes twice");
    last = choices_;
    chosen_[static_cast<std::size_t>(k)] = index;
  }
  step_chosen(n, x, out, interruption);
}

template <class T>
void StreamBank<T>::step_all(const T* x, T* out, Interruption* interruption) {
  for (std::size_t k = 0; k < members_.size(); ++k) chosen_[k] = members_[k].slot;
  step_chosen(size(), x, out, interruption);
}

template <class T>
void StreamBank<T>::step_chosen(std::int64_t n, const T* x, T* out, Interruption* interruption) {
  batch_.set_rows(n);
  for (std::int64_t k = 0; k < n; ++k) batch_.write_state(k, slot(chosen_[static_cast<std::size_t>(k)]));
  batch_.step(x, out, interruption);
  for (std::int64_t k = 0; k < n; ++k) batch_.read_state(k, slot(chosen_[static_cast<std::size_t>(k)]));
}

template class StreamBank<float>;
template class StreamBank<double>;

}  // namespace lstmcore
