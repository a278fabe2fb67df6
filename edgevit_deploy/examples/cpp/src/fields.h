#pragma once

#include <nlohmann/json.hpp>

#include <cmath>
#include <string>

#include "errors.h"
#include "text.h"

namespace edgevit {

using Json = nlohmann::json;

[[noreturn]] inline void refuse(const std::string& what) {
    throw Refused("manifest.json: " + printable(what) + "; convert again");
}

// A field of an object of the manifest; fields are named in full in what is said about them.
inline const Json& field(const Json& object, const char* name) {
    if (!object.is_object() || !object.contains(name))
        refuse(std::string("no field ") + name);
    return object.at(name);
}

inline std::string text_of(const Json& object, const char* name) {
    const Json& value = field(object, name);
    if (!value.is_string())
        refuse(std::string(name) + " is no text");
    if (value.get_ref<const std::string&>().size() > 1000)
        refuse(std::string(name) + " is longer than 1000 characters");
    return value.get<std::string>();
}

inline const Json& list_of(const Json& object, const char* name, std::size_t most) {
    const Json& value = field(object, name);
    if (!value.is_array() || value.empty() || value.size() > most)
        refuse(std::string(name) + " has not 1 to " + std::to_string(most) + " entries");
    return value;
}

// An integer from `least` to `most`.
inline std::int64_t integer(const Json& value, const std::string& what, std::int64_t least, std::int64_t most) {
    if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(most))
        refuse(what + " is larger than " + std::to_string(most));
    if (!value.is_number_integer() || value.get<std::int64_t>() < least || value.get<std::int64_t>() > most)
        refuse(what + " is no integer from " + std::to_string(least) + " to " + std::to_string(most));
    return value.get<std::int64_t>();
}

inline double number(const Json& value, const std::string& what) {
    if (!value.is_number() || !std::isfinite(value.get<double>()))
        refuse(what + " is no finite number");
    return value.get<double>();
}

}  // namespace edgevit
