#include <stdlib.h>
#include <string.h>

#include "tally/table.h"

static int by_rank(const void *left, const void *right)
{
    const struct entry *a = *(struct entry *const *)left, *b = *(struct entry *const *)right;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return strcmp(a->word, b->word);
}

struct entry **table_ranked(const struct table *table)
{
    struct entry **ranked = malloc((table->size + 1) * sizeof *ranked);
    size_t found = 0;
    for (size_t slot = 0; slot < 256; slot++)
        for (struct entry *entry = table->slots[slot]; entry; entry = entry->next)
            ranked[found++] = entry;
    qsort(ranked, found, sizeof *ranked, by_rank);
    return ranked;
}

void table_free(struct table *table)
{
    for (size_t slot = 0; slot < 256; slot++)
        while (table->slots[slot]) {
            struct entry *entry = table->slots[slot];
            table->slots[slot] = entry->next;
            free(entry->word);
            free(entry);
        }
    table->size = 0;
}
