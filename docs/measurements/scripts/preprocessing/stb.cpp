// stb_image decodes; stb_image_resize resizes, or, with a third word, the sample's own resize. stb LIST OUT [ours]
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#include <stb/stb_image.h>
#include <stb/stb_image_resize.h>

#include <algorithm>
#include <stdexcept>

#include "jobs.h"

namespace {

edgevit::Pixels decoded(const std::string& path) {
    int width, height, channels;
    stbi_uc* bytes = stbi_load(path.c_str(), &width, &height, &channels, 3);
    if (bytes == nullptr)
        throw std::runtime_error(stbi_failure_reason());
    edgevit::Pixels picture({height, width});
    std::copy_n(bytes, picture.bytes.size(), picture.bytes.data());
    stbi_image_free(bytes);
    return picture;
}

edgevit::Pixels resized_by_stb(const edgevit::Pixels& picture, edgevit::Size size) {
    edgevit::Pixels result(size);
    stbir_resize_uint8(picture.bytes.data(), picture.size.width, picture.size.height, 0, result.bytes.data(), size.width, size.height,
                       0, 3);
    return result;
}

}  // namespace

int main(int count, char** words) {
    const bool ours = count > 3;
    return for_each_job(words[1], words[2], [ours](const Job& job) {
        edgevit::Pixels picture = decoded(job.path);
        if (ours)
            return edgevit::resized_and_cropped(std::move(picture), job.preprocess);
        edgevit::Preprocess crop_alone = job.preprocess;  // of a picture that has its size already
        crop_alone.resize = edgevit::resized_size(picture.size, job.preprocess);
        crop_alone.stretch = true;
        return edgevit::resized_and_cropped(resized_by_stb(picture, crop_alone.resize), crop_alone);
    });
}
