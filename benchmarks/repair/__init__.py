"""What repairs a training, and in how many steps: gradfuga's search beside other orders."""
