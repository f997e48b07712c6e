#include "kernels/cpu/cpu_backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/floats.h"

static const char *const isa_names[SA2_ISA_COUNT] = {"c", "avx2", "avx512", "avx512bf16", "amx"};

const char *sa2_isa_name(sa2_isa isa)
{
    return isa_names[isa];
}

#if defined(__x86_64__)
bool sa2_isa_present(sa2_isa isa)
{
    switch (isa) {
    case SA2_ISA_C:
        return true;
    case SA2_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case SA2_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    case SA2_ISA_AVX512BF16:
        return sa2_isa_present(SA2_ISA_AVX512) && __builtin_cpu_supports("avx512bf16") &&
               __builtin_cpu_supports("avx512vnni");
    case SA2_ISA_AMX:
        return sa2_isa_present(SA2_ISA_AVX512BF16) && sa2_tiles_present();
    case SA2_ISA_COUNT:
        break;
    }
    return false;
}
#else
bool sa2_isa_present(sa2_isa isa)
{
    return isa == SA2_ISA_C;
}
#endif

static sa2_status choose_isa(const char *name, sa2_isa *isa, sa2_error *err)
{
    if (name == NULL || strcmp(name, "auto") == 0) {
        *isa = SA2_ISA_COUNT - 1;
        while (!sa2_isa_present(*isa))
            (*isa)--;
        return SA2_OK;
    }
    char here[64] = "";
    for (sa2_isa i = 0; i < SA2_ISA_COUNT; i++) {
        if (!sa2_isa_present(i))
            continue;
        if (strcmp(name, isa_names[i]) == 0) {
            *isa = i;
            return SA2_OK;
        }
        size_t used = strlen(here);
        snprintf(here + used, sizeof here - used, " %s", isa_names[i]);
    }
    return sa2_fail(err, SA2_ERR_UNSUPPORTED, "instruction set \"%s\": this processor has%s", name,
                    here);
}

static void choose_kernels(sa2_cpu *cpu)
{
    cpu->floats = sa2_floats_c();
    cpu->tile = sa2_tile_c();
#if defined(__x86_64__)
    if (cpu->isa >= SA2_ISA_AVX2) {
        cpu->floats = sa2_floats_avx2();
        cpu->tile = sa2_tile_avx2();
    }
    if (cpu->isa >= SA2_ISA_AVX512) {
        cpu->floats = sa2_floats_avx512();
        cpu->tile = sa2_tile_avx512();
    }
    if (cpu->isa >= SA2_ISA_AMX)
        cpu->tile = sa2_tile_amx();
#endif
}

sa2_status sa2_cpu_open(sa2_cpu **cpu, const sa2_backend_options *options, sa2_error *err)
{
    *cpu = NULL;
    sa2_isa isa;
    sa2_status st = choose_isa(options->isa, &isa, err);
    if (st != SA2_OK)
        return st;
    sa2_cpu *made = calloc(1, sizeof *made);
    if (made == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "cpu backend: no memory");
    made->isa = isa;
    choose_kernels(made);
    st = sa2_threads_create(&made->threads, options->n_threads, err);
    if (st != SA2_OK) {
        free(made);
        return st;
    }
    size_t threads = (size_t)sa2_threads_count(made->threads);
    st = sa2_arena_create(&made->workspace, SA2_PACKED_SPACE + threads * SA2_THREAD_SPACE, err);
    if (st != SA2_OK) {
        sa2_cpu_close(made);
        return sa2_wrap(err, st, "cpu backend: workspace");
    }
    made->packed = sa2_arena_take(&made->workspace, SA2_PACKED_SPACE);
    made->thread_space = sa2_arena_take(&made->workspace, threads * SA2_THREAD_SPACE);
    *cpu = made;
    return SA2_OK;
}

void sa2_cpu_close(sa2_cpu *cpu)
{
    if (cpu == NULL)
        return;
    sa2_arena_destroy(&cpu->workspace);
    sa2_threads_destroy(cpu->threads);
    free(cpu);
}
