/* cpu_backend.h - what the CPU ops share: the team of threads and the instruction set in use.
 *
 * Vector code is a file per instruction set, <op>_avx2.c and so on, compiled for it; each family
 * has a struct of functions, one for each set, and sa2_cpu_open() in cpu_backend.c picks once.
 */
#ifndef SA2_KERNELS_CPU_CPU_BACKEND_H
#define SA2_KERNELS_CPU_CPU_BACKEND_H

#include "kernels/cpu/threads.h"
#include "kernels/stream.h"

typedef enum sa2_isa {
    SA2_ISA_C = 0,      /* plain C, any machine */
    SA2_ISA_AVX2,       /* with FMA */
    SA2_ISA_AVX512,     /* F, BW, VL, DQ */
    SA2_ISA_AVX512BF16, /* and BF16, VNNI */
    SA2_ISA_AMX,        /* and tiles with BF16 and INT8 */
    SA2_ISA_COUNT
} sa2_isa;

/* Workspace, mapped when the backend opens and touched only as far as used. */
enum {
    SA2_PACKED_SPACE = 32 << 20, /* rows of a product in the form its kernel reads */
    SA2_THREAD_SPACE = 1 << 20,  /* of each thread, for one task */
};

typedef struct sa2_cpu {
    sa2_threads *threads;
    sa2_isa isa;

    const struct sa2_floats *floats;     /* floats.h */
    const struct sa2_tile_kernels *tile; /* attention_tile.h */
    sa2_arena workspace;
    unsigned char *packed;       /* SA2_PACKED_SPACE */
    unsigned char *thread_space; /* SA2_THREAD_SPACE for each thread */
} sa2_cpu;

/* Errors: SA2_ERR_UNSUPPORTED, naming what the processor has. */
sa2_status sa2_cpu_open(sa2_cpu **cpu, const sa2_backend_options *options, sa2_error *err);
void sa2_cpu_close(sa2_cpu *cpu);
const char *sa2_isa_name(sa2_isa isa);
bool sa2_isa_present(sa2_isa isa); /* on this processor, and allowed by the system */
bool sa2_tiles_present(void);

extern const sa2_ops sa2_cpu_ops;

/* Not shared with other threads, and unset when a task begins. */
static inline void *sa2_cpu_thread_space(sa2_cpu *cpu, int thread)
{
    return cpu->thread_space + (size_t)thread * SA2_THREAD_SPACE;
}

static inline sa2_cpu *sa2_cpu_of(sa2_stream *s)
{
    return s->device;
}

#endif
