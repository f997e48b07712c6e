#include "runtime/serving/host_memory.h"

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

/* A file with one number; SIZE_MAX when it is not there or says "max". */
static size_t read_limit(const char *path)
{
    FILE *file = fopen(path, "r");
    unsigned long long bytes;
    if (file == NULL)
        return SIZE_MAX;
    int n = fscanf(file, "%20llu", &bytes);
    fclose(file);
    return n == 1 ? (size_t)bytes : SIZE_MAX;
}

size_t sa2_host_memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t least = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : SIZE_MAX;
    static const char *const limits[] = {"/sys/fs/cgroup/memory.max",
                                         "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        size_t limit = read_limit(limits[i]);
        least = limit < least ? limit : least;
    }
    return least;
}
