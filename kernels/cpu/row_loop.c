#include "kernels/cpu/row_loop.h"

enum {
    PIECE_NS = 4000, /* the least that is worth handing to another thread */
    PIECES_EACH = 4  /* for a thread, so that a late one does not hold up the others */
};

typedef struct loop {
    sa2_row_task task;
    const void *context;
    int64_t rows;
    int pieces;
} loop;

static void run_piece(void *context, int i, int thread)
{
    (void)thread;
    const loop *l = context;
    l->task(l->context, l->rows * i / l->pieces, l->rows * (i + 1) / l->pieces);
}

void sa2_row_loop(sa2_cpu *cpu, int64_t rows, double cost, sa2_row_task task, const void *context)
{
    int threads = sa2_threads_count(cpu->threads);
    double worth = (double)rows * cost / PIECE_NS;
    if (threads == 1 || worth < 2.0 || rows < 2) {
        task(context, 0, rows);
        return;
    }
    loop l = {.task = task, .context = context, .rows = rows, .pieces = threads * PIECES_EACH};
    if (worth < l.pieces)
        l.pieces = (int)worth;
    if (rows < l.pieces)
        l.pieces = (int)rows;
    sa2_threads_run(cpu->threads, l.pieces, run_piece, &l);
}
