#define _GNU_SOURCE
#include "kernels/cpu/cpu_backend.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The system must be asked before tiles may be used (Linux, arch_prctl ARCH_REQ_XCOMP_PERM). */
static bool tiles_allowed(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

/* Intel SDM volume 2A, CPUID leaf 7: EDX bits 22 AMX-BF16, 24 AMX-TILE, 25 AMX-INT8. */
bool sa2_tiles_present(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return false;
    return (d >> 22 & 1) && (d >> 24 & 1) && (d >> 25 & 1) && tiles_allowed();
}
#else
bool sa2_tiles_present(void)
{
    return false;
}
#endif
