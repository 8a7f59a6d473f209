"""The pages of runs, one file for each; each is a function from a visit to a response.

    lists/  pages that are tables of everything else

runs.py         the list of runs: search, filters, orders
run.py          one run, and its report
run_parts.py    the parts of that page, of which only those that changed are sent
run_history.py  what failed, and what happened
actions.py      pause, resume, cancel and delete, for one run or chosen ones
change.py       a form that changes name, tags, priority, budget and hours of a run
images.py       a grid of the images of a run, and one image
energies.py     the energies of its reads, which workers compute
compare.py      two runs of the same images
downloads.py    results as a file
submit.py       a form that submits images
overview.py     queries behind the lists of runs and solvers
"""
