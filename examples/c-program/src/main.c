/* tally FILE...: the words of the files, the most frequent first. */
#include <stdio.h>
#include <stdlib.h>

#include "tally/table.h"
#include "tally/words.h"

int main(int count, char **files)
{
    static struct table table;
    char word[LONGEST_WORD];
    for (int i = 1; i < count; i++) {
        FILE *file = fopen(files[i], "r");
        if (!file) {
            perror(files[i]);
            return 1;
        }
        while (next_word(file, word))
            table_add(&table, word);
        fclose(file);
    }
    struct entry **ranked = table_ranked(&table);
    for (size_t i = 0; i < table.size; i++)
        printf("%7u %s\n", ranked[i]->count, ranked[i]->word);
    free(ranked);
    table_free(&table);
    return 0;
}
