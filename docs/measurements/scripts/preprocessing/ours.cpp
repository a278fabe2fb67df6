// The C++ sample's own way from a file to the crop. ours LIST OUT
#include "jobs.h"
#include "picture.h"

int main(int, char** words) {
    return for_each_job(words[1], words[2], [](const Job& job) {
        return edgevit::resized_and_cropped(edgevit::read_picture(job.path), job.preprocess);
    });
}
