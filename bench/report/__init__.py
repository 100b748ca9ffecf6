"""What runs of the bench leave behind, and what is made of it.

stored      a run as a file of JSON: everything that was measured, of whom, by what command, on what machine
here        what a run says of this machine, this build, this call
together    several of them laid together: cases, proxies, repeats
figures     what the name of a figure says
histograms  stored histograms, merged, as shares of all
thin        a long run's seconds as no more places than a chart has room for
noise       whether two rows of repeats differ by more than noise
earlier     what has changed since an earlier run
words       numbers as people read them, and foreign text made fit to be shown
charts      what things cost, how that grows, latencies by shares of all
seconds     every second of a run
tables      the page's tables
page        all of it as one page of HTML
markdown    the same, shorter, for a README
run         the command
"""
